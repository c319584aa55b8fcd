# SPDX-License-Identifier: Apache-2.0
"""The modules of sanitizers/run_mutants: the mutants, the runs of their catchers, the copies of the tree, the
results."""
