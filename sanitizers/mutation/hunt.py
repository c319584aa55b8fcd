# SPDX-License-Identifier: Apache-2.0
"""Checks that catchers pass on the unchanged tree, and that each mutant is caught."""
import dataclasses
import sys

from .catching import kind_of
from .mutant import Trouble
from .tree import COPIES

LOGS = COPIES / "logs"

# The seconds that a test may take with a mutant, in addition to SLOWDOWN times its duration without one.
PATIENCE = 30
# The same if hangs are expected: each hang takes this time.
PATIENCE_WITH_DEADLOCKS = 8
SLOWDOWN = 5


def run_unmutated(tree, catchers):
    """Runs each on the unchanged tree. @return the seconds of each. Raises Trouble if one does not pass."""
    tree.refresh()
    seconds = {}
    for preset in sorted({catcher.preset for catcher in catchers}):
        here = [catcher for catcher in catchers if catcher.preset == preset]
        print(f"{preset}: {len(here)} tests on the tree as it is ...", file=sys.stderr, flush=True)
        tree.build(preset, sorted({catcher.program for catcher in here}))
        for catcher in here:
            kind = kind_of(catcher)
            run = kind.run(tree, catcher, 300, 1)
            if not run.green:
                raise Trouble(f"{catcher}: does not pass without any mutant\n{run.output}")
            if not kind.has_run(run):
                raise Trouble(f"{catcher}: no such test, or it is skipped here")
            seconds[catcher] = run.seconds
    return seconds


def try_catchers(tree, mutant, catchers, seconds):
    """Runs them in turn, and again with more rounds, until one catches the mutant. @return the Catch."""
    patience = PATIENCE_WITH_DEADLOCKS if mutant.may_hang else PATIENCE
    most = max(len(kind_of(catcher).scales) for catcher in catchers)
    for number in range(most):
        for catcher in catchers:
            kind = kind_of(catcher)
            if number >= len(kind.scales):
                continue
            scale = kind.scales[number]
            tree.build(catcher.preset, [catcher.program])
            run = kind.run(tree, catcher, patience + SLOWDOWN * scale * seconds[catcher], scale)
            (LOGS / f"{mutant.name}.log").write_text(f"{catcher}\n\n{run.output}")
            if caught := kind.catch(tree, catcher, run, mutant):
                return dataclasses.replace(caught, runs=number + 1)
            if run.hangs:
                raise Trouble(f"{catcher} hangs, and Shows-as names no deadlock")
    raise Trouble("SURVIVED " + ", ".join(map(str, catchers)))


def hunt(tree, mutant, seconds, every_catcher):
    """@return a list with a Catch or a Trouble: one for all catchers, or one for each with `every_catcher`."""
    groups = [(catcher,) for catcher in mutant.catchers] if every_catcher else [mutant.catchers]
    try:
        tree.refresh()
        tree.apply(mutant)
    except Trouble as trouble:
        return [trouble]
    outcomes = []
    for group in groups:
        try:
            outcomes.append(try_catchers(tree, mutant, group, seconds))
        except Trouble as trouble:
            outcomes.append(trouble)
    return outcomes
