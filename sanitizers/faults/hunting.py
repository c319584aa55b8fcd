# SPDX-License-Identifier: Apache-2.0
"""Finds out which tests reach which fault, and runs, for each fault, those that reach it until one fails."""
import collections
import concurrent.futures
import dataclasses
import os
from pathlib import Path

from .running import adopt_orphans, run_test

LIMIT_FACTOR = 5  # a test may take so much longer with a fault


@dataclasses.dataclass(frozen=True)
class Reach:
    """What a test reaches without a fault, and how long it takes."""

    test: object
    seconds: float
    places: frozenset


@dataclasses.dataclass(frozen=True)
class Verdict:
    number: int
    outcome: str  # "killed", "survived" or "unreached"
    test: str = ""  # that killed it
    how: str = ""  # "failed" or "hung"
    tests_run: int = 0
    seconds: float = 0.0


class Pool:
    """Processes that run tests. Each has a file in which the switch notes what a test has reached."""

    def __init__(self, jobs, folder, numbers):
        self.folder = folder
        self.size = max(numbers, default=0) + 1
        folder.mkdir(parents=True, exist_ok=True)
        self.executor = concurrent.futures.ProcessPoolExecutor(jobs, initializer=adopt_orphans)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.executor.shutdown(cancel_futures=True)

    def map(self, function, arguments):
        """The results as they come."""
        futures = [self.executor.submit(function, *each) for each in arguments]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()


def record(test, folder, size, limit):
    """Runs the test without a fault. @return the outcome and a Reach."""
    path = Path(folder) / f"reached-{os.getpid()}"
    path.write_bytes(bytes(size))
    outcome, seconds = run_test(test, {"DOORBELL_FAULT_REACHED": str(path)}, min(limit, test.timeout))
    places = frozenset(number for number, byte in enumerate(path.read_bytes()) if byte)
    return outcome, Reach(test, seconds, places)


def record_all(pool, tests, limit, progress):
    """@return a Reach of each test that passes within the limit, and the names of those that do not."""
    reaches, unusable = [], []
    for count, (outcome, reach) in enumerate(pool.map(record, ((test, pool.folder, pool.size, limit) for test in tests)), 1):
        if outcome == "passed":
            reaches.append(reach)
        else:
            unusable.append(f"{reach.test.name} ({outcome})")
        if count % 500 == 0:
            progress(f"{count} of {len(tests)} tests have run without a fault")
    return reaches, sorted(unusable)


def choose_tests(reaches, budget):
    """The tests to run for a fault, in their order: the short ones that reach little else, for half of the budget in
    seconds; then those that reach most. At least one."""
    specific = collections.deque(sorted(reaches, key=lambda each: (each.seconds * len(each.places), each.test.name)))
    chosen, spent = [], 0.0
    while specific and (not chosen or spent + specific[0].seconds <= budget / 2):
        chosen.append(specific.popleft())
        spent += chosen[-1].seconds
    for each in sorted(specific, key=lambda each: (-len(each.places), each.seconds, each.test.name)):
        if spent + each.seconds <= budget:
            chosen.append(each)
            spent += each.seconds
    return chosen


def hunt(number, chosen, timeout):
    """Runs the tests with the fault until one fails. A failure counts if the test fails twice in three runs, because some
    tests depend on the time."""
    settings = {"DOORBELL_FAULT": str(number)}
    spent = 0.0
    for count, reach in enumerate(chosen, 1):
        limit = timeout + LIMIT_FACTOR * reach.seconds
        outcomes = collections.Counter()
        while outcomes["passed"] == 0 or (outcomes["failed"] > 0 and outcomes.total() < 3):
            outcome, seconds = run_test(reach.test, settings, limit)
            outcomes[outcome] += 1
            spent += seconds
            if outcome == "hung" or outcomes["failed"] == 2:
                return Verdict(number, "killed", reach.test.name, outcome, count, spent)
    return Verdict(number, "survived" if chosen else "unreached", tests_run=len(chosen), seconds=spent)


def hunt_all(pool, faults, reaches, budget, timeout):
    """The verdicts as they come."""
    reached = {number: [] for number in faults}
    for reach in reaches:
        for number in reach.places & faults.keys():
            reached[number].append(reach)
    arguments = ((number, choose_tests(reached[number], budget), timeout) for number in sorted(faults))
    yield from pool.map(hunt, arguments)


def run_again(pool, verdicts, tests):
    """Runs those tests once more, without a fault, that have killed one: a fault may have left something behind that makes
    them fail. @return a line for each that fails now, whose kills are doubtful."""
    killers = {verdict.test for verdict in verdicts.values() if verdict.outcome == "killed"}
    again = [test for test in tests if test.name in killers]
    ended = pool.map(record, ((test, pool.folder, pool.size, test.timeout) for test in again))
    return sorted(f"{reach.test.name} (after the faults {outcome}; the kills of this test are doubtful)"
                  for outcome, reach in ended if outcome != "passed")
