# SPDX-License-Identifier: Apache-2.0
"""The tests of a build, as ctest lists them, and the code that runs one."""
import ctypes
import dataclasses
import json
import os
import select
import signal
import subprocess
import time

from .fault import Trouble

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


@dataclasses.dataclass(frozen=True)
class Test:
    name: str
    command: tuple
    environment: tuple  # of "NAME=value"
    folder: str
    timeout: float
    labels: tuple
    skip_code: int | None
    will_fail: bool

    @property
    def is_scenario(self):
        """@return whether it is a scenario of the model checker, which itself reports hangs."""
        return "model" in self.labels


GTEST_FILTER = "--gtest_filter="


def together(tests):
    """One test that is all of these, which are cases of the same GoogleTest program in the same settings."""
    first = tests[0]
    names = [word.removeprefix(GTEST_FILTER)
             for test in tests for word in test.command if word.startswith(GTEST_FILTER)]
    command = [word for word in first.command if not word.startswith(GTEST_FILTER)]
    return dataclasses.replace(first, name=f"{len(tests)} with {first.name}",
                               timeout=sum(test.timeout for test in tests),
                               command=(*command, GTEST_FILTER + ":".join(names), "--gtest_fail_fast"))


def program_of(test):
    """A key that is equal for tests that can be run together; None if the test has to be run alone."""
    if not any(word.startswith(GTEST_FILTER) for word in test.command) or test.will_fail or test.skip_code is not None:
        return None
    return (tuple(word for word in test.command if not word.startswith(GTEST_FILTER)), test.environment, test.folder)


def list_tests(folder, environment=()):
    """The tests of a build folder. @param environment: of "NAME=value", for all tests."""
    ended = subprocess.run(["ctest", "--test-dir", str(folder), "--show-only=json-v1"], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    if ended.returncode != 0:
        raise Trouble(f"ctest cannot list the tests:\n{ended.stderr[-3000:]}")
    return [read_test(entry, str(folder), environment)
            for entry in json.loads(ended.stdout)["tests"] if "command" in entry]


def read_test(entry, folder, environment=()):
    """One entry of `ctest --show-only=json-v1`."""
    settings = {each["name"]: each["value"] for each in entry.get("properties", [])}
    return Test(name=entry["name"], command=tuple(entry["command"]),
                environment=(*environment, *settings.get("ENVIRONMENT", [])),
                folder=settings.get("WORKING_DIRECTORY", folder), timeout=float(settings.get("TIMEOUT", 60)),
                labels=tuple(settings.get("LABELS", [])), skip_code=settings.get("SKIP_RETURN_CODE"),
                will_fail=bool(settings.get("WILL_FAIL", False)))


def adopt_orphans():
    """Processes that a test leaves behind become children of this process, which ends them. This process ends with its
    parent."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _end_children():
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            children = [int(word) for word in file.read().split()]
        if not children:
            return
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def busy_factor():
    """@return the factor by which a busy machine makes a test slower. Load must not make a test count as hanging."""
    return min(max(1.0, os.getloadavg()[0] / os.cpu_count()), 4.0)


def run_test(test, settings, limit):
    """Runs a test with additional environment variables. To be called by the main thread of a process that has called
    adopt_orphans() and has no other children. @param limit: seconds, for a machine that does nothing else.
    @return "passed", "failed" or "hung", and the seconds that it took."""
    environment = {**os.environ, **dict(each.split("=", 1) for each in test.environment), **settings}
    begin = time.monotonic()
    running = subprocess.Popen(test.command, cwd=test.folder, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    descriptor = os.pidfd_open(running.pid)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    has_ended = bool(poller.poll(limit * busy_factor() * 1000))
    os.close(descriptor)
    if not has_ended:
        running.kill()
    status = running.wait()
    _end_children()
    seconds = time.monotonic() - begin
    if not has_ended:
        return "hung", seconds
    passed = status == 0 or status == test.skip_code
    return ("passed" if passed != test.will_fail else "failed"), seconds
