# SPDX-License-Identifier: Apache-2.0
"""Records which tests reach which fault, and runs, for each fault, the tests that reach it until one fails."""
import collections
import concurrent.futures
import dataclasses
import os
from pathlib import Path

from .running import adopt_orphans, program_of, run_test, together

LIMIT_FACTOR = 5  # how many times as long a test may take with a fault
ALONE = 6  # the number of tests that run alone first
MOST_TOGETHER = 40
FEW = 4


@dataclasses.dataclass(frozen=True)
class Reach:
    """The places that a test reaches without a fault, and how long it takes."""

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
        """Yields each result when it is available."""
        futures = [self.executor.submit(function, *each) for each in arguments]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()


def record(test, folder, size, limit):
    """Runs the test without a fault. @return the outcome and a Reach."""
    path = Path(folder) / f"reached-{os.getpid()}"
    path.write_bytes(bytes(size))
    path.chmod(0o666)  # some tests become another user
    outcome, seconds = run_test(test, {"DOORBELL_FAULT_REACHED": str(path)}, min(limit, test.timeout))
    places = frozenset(number for number, byte in enumerate(path.read_bytes()) if byte)
    return outcome, Reach(test, seconds, places)


def record_all(pool, tests, limit, progress):
    """@return a Reach of each test that passes within the limit, and the names of those that do not."""
    reaches, unusable = [], []
    jobs = ((test, pool.folder, pool.size, limit) for test in tests)
    for count, (outcome, reach) in enumerate(pool.map(record, jobs), 1):
        if outcome == "passed":
            reaches.append(reach)
        else:
            unusable.append(f"{reach.test.name} ({outcome})")
        if count % 500 == 0:
            progress(f"{count} of {len(tests)} tests have run without a fault")
    return reaches, sorted(unusable)


def choose_tests(reaches, budget):
    """The tests to run for a fault, in their order: the short ones that reach little else, for half of the budget in
    seconds; then those that reach most. The first FEW tests may together take up to four times the budget, because
    all tests that reach the place may be long."""
    specific = collections.deque(sorted(reaches, key=lambda each: (each.seconds * len(each.places), each.test.name)))
    chosen, spent = [], 0.0
    while specific and (not chosen or
                        spent + specific[0].seconds <= (budget / 2 if len(chosen) >= FEW else 4 * budget)):
        chosen.append(specific.popleft())
        spent += chosen[-1].seconds
    for each in sorted(specific, key=lambda each: (-len(each.places), each.seconds, each.test.name)):
        if spent + each.seconds <= budget:
            chosen.append(each)
            spent += each.seconds
    return chosen


def kills(reach, settings, timeout):
    """Checks whether a test notices the fault. A failure counts if the test fails twice in three runs, because some
    tests depend on the time. A scenario may have many more schedules with a fault, so a timeout is not a hang.
    @return "failed", "hung" or "", and the seconds that it took."""
    limit = timeout + LIMIT_FACTOR * reach.seconds
    if reach.test.is_scenario:
        outcome, spent = run_test(reach.test, settings, limit)
        return ("failed" if outcome == "failed" else ""), spent
    outcomes = collections.Counter()
    spent = 0.0
    while outcomes["passed"] == 0 or (outcomes["failed"] > 0 and outcomes.total() < 3):
        outcome, seconds = run_test(reach.test, settings, limit)
        outcomes[outcome] += 1
        spent += seconds
        if outcome == "hung" or outcomes["failed"] == 2:
            return outcome, spent
    return "", spent


def in_groups(chosen):
    """Lists of tests: each of the first alone, then those of a program together, since most of the time of a short
    test is the start of its program."""
    groups = [[reach] for reach in chosen[:ALONE]]
    by_program = {}
    for reach in chosen[ALONE:]:
        program = program_of(reach.test)
        if program is None:
            groups.append([reach])
        elif program in by_program and len(by_program[program]) < MOST_TOGETHER:
            by_program[program].append(reach)
        else:
            by_program[program] = [reach]
            groups.append(by_program[program])
    return groups


def hunt(number, chosen, timeout):
    """Runs the tests with the fault until one notices it. Tests that pass together are not run alone."""
    settings = {"DOORBELL_FAULT": str(number)}
    spent, count = 0.0, 0
    for group in in_groups(chosen):
        if len(group) > 1:
            limit = timeout + LIMIT_FACTOR * sum(reach.seconds for reach in group)
            outcome, seconds = run_test(together([reach.test for reach in group]), settings, limit)
            spent += seconds
            if outcome == "passed":
                count += len(group)
                continue
        for reach in group:
            count += 1
            how, seconds = kills(reach, settings, timeout)
            spent += seconds
            if how:
                return Verdict(number, "killed", reach.test.name, how, count, spent)
    return Verdict(number, "survived" if chosen else "unreached", tests_run=count, seconds=spent)


def hunt_all(pool, faults, reaches, budget, timeout):
    """Yields each verdict when it is available."""
    reached = {number: [] for number in faults}
    for reach in reaches:
        for number in reach.places & faults.keys():
            reached[number].append(reach)
    arguments = ((number, choose_tests(reached[number], budget), timeout) for number in sorted(faults))
    yield from pool.map(hunt, arguments)


def run_again(pool, verdicts, tests):
    """Runs those tests once more, without a fault, that have killed one: a fault may have left something behind that
    makes them fail. @return a line for each that fails now, whose kills are doubtful."""
    killers = {verdict.test for verdict in verdicts.values() if verdict.outcome == "killed"}
    again = [test for test in tests if test.name in killers]
    ended = pool.map(record, ((test, pool.folder, pool.size, test.timeout) for test in again))
    return sorted(f"{reach.test.name} (after the faults {outcome}; the kills of this test are doubtful)"
                  for outcome, reach in ended if outcome != "passed")
