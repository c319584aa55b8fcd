# SPDX-License-Identifier: Apache-2.0
"""sanitizers/run_faults: faults that are generated, compiled into one build, and hunted by the tests."""
