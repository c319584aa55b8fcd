# SPDX-License-Identifier: Apache-2.0
"""What sanitizers/run_mutants is made of: which mutants there are, how a catcher is run, where, and what comes of it."""
