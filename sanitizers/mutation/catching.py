# SPDX-License-Identifier: Apache-2.0
"""Runs the programs that contain the catchers, and reads their output."""
import dataclasses
import json
import os
import re
from pathlib import Path

from .mutant import ROOT, Catcher, Trouble

# The first words of a report, and the sanitizer that prints it. The test itself detects all other failures.
REPORTS = {
    "WARNING: ThreadSanitizer": "TSan",
    "ERROR: AddressSanitizer": "ASan",
    "ERROR: LeakSanitizer": "ASan",
    "runtime error:": "UBSan",
}


@dataclasses.dataclass(frozen=True)
class Catch:
    """A line of the table: the catcher of a mutant, and its effort."""

    found_by: str
    effort: str
    catcher: Catcher
    runs: int = 1

    def __str__(self):
        return str(self.catcher) + (f" ({self.runs} runs)" if self.runs > 1 else "")


class Preset:
    """The settings of a test preset, as ctest uses them."""

    def __init__(self, name):
        self.name = name
        known = json.loads((ROOT / "CMakePresets.json").read_text())["testPresets"]
        by_name = {preset["name"]: preset for preset in known}
        self.environment = {}
        while name is not None:
            if name not in by_name:
                raise Trouble(f"no test preset {name} in CMakePresets.json")
            for key, value in by_name[name].get("environment", {}).items():
                self.environment.setdefault(key, value.replace("${sourceDir}", str(ROOT)))
            name = by_name[name].get("inherits")

    @property
    def wrapper(self):
        """g++ 12's ThreadSanitizer needs this where the kernel randomizes more bits than it supports."""
        bits = int(Path("/proc/sys/vm/mmap_rnd_bits").read_text())
        return ["setarch", "-R"] if self.name == "tsan" and bits > 28 else []


class GoogleTest:
    """A test. A race does not make it fail each time, so it runs again with the rounds of stress tests multiplied."""

    scales = (1, 4, 16)

    @staticmethod
    def run(tree, catcher, limit, scale):
        preset = Preset(catcher.preset)
        environment = dict(preset.environment)
        if catcher.engine:
            environment["DOORBELL_ENGINE"] = catcher.engine
        if tree.folder(catcher) == "dropin":
            environment["LD_PRELOAD"] = ":".join(map(str, tree.dropin(catcher)))
        environment["DOORBELL_STRESS_SCALE"] = str(scale * float(os.environ.get("DOORBELL_STRESS_SCALE", 1)))
        command = [*preset.wrapper, tree.program(catcher), f"--gtest_filter={catcher.name}"]
        return tree.run(command, environment, limit)

    @staticmethod
    def has_run(run):
        return re.search(r"^\[       OK \]", run.output, re.MULTILINE)

    @staticmethod
    def catch(tree, catcher, run, mutant):
        """@return the Catch, or None if the mutant survived."""
        if run.green or (run.hangs and not mutant.may_hang):
            return None
        reported = [sanitizer for beginning, sanitizer in REPORTS.items() if beginning in run.output]
        found_by = reported[0] if reported else tree.folder(catcher) + (", hangs" if run.hangs else "")
        return Catch(found_by, f"{run.seconds:.1f} s", catcher)


class Model:
    """A scenario. All its schedules run, in the same order each time."""

    scales = (1,)

    @staticmethod
    def run(tree, catcher, limit, _scale):
        return tree.run([tree.program(catcher), catcher.name], {}, limit)

    @staticmethod
    def has_run(run):
        return "exhausted" in run.output

    @staticmethod
    def catch(_tree, catcher, run, _mutant):
        """@return the Catch, or None if the mutant survived. The model checker reports deadlocks, and does not hang."""
        failed = re.search(r"^\S+: (?!broken scenario).*\n  in schedule (\d+); to replay it:", run.output, re.MULTILINE)
        return Catch("model", f"schedule {failed[1]}", catcher) if failed else None


def kind_of(catcher):
    return Model if catcher.preset == "model" else GoogleTest
