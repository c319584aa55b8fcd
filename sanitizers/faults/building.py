# SPDX-License-Identifier: Apache-2.0
"""A copy of the tree with all faults in it, and its build. Faults that do not compile are removed."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from mutation.tree import files_of

from .fault import Trouble
from .rewriting import HEADER_LINES, rewrite

ROUNDS = 12
LOCATION = re.compile(r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?P<column>\d+): +(?P<what>error|required from|.*)",
                      re.M)


def environment_of(presets, name):
    """@param presets: by name. @return the environment of the preset and of those from which it inherits."""
    inherited = presets[name].get("inherits", [])
    settings = {}
    for other in [inherited] if isinstance(inherited, str) else inherited:
        settings = environment_of(presets, other) | settings
    return settings | presets[name].get("environment", {})


class Build:
    """The copy in `folder`, built with one of the presets."""

    def __init__(self, root, folder, preset, targets, jobs, progress):
        """@param targets: of the build; an empty list means all targets of the preset's tests."""
        self.root = root
        self.copy = folder / "tree"
        self.folder = self.copy / "build" / preset
        self.preset = preset
        self.targets = targets or (["model"] if preset == "model" else [])
        self.jobs = jobs
        self.progress = progress
        self.header = self.copy / "sanitizers" / "faults" / "switch.h"

    def configure(self):
        """Updates the copy, except files that contain faults, and runs cmake."""
        self._write({}, keep_rewritten=True)
        options = ["-DDOORBELL_WERROR=OFF", "-DDOORBELL_BUILD_BENCH=OFF"]
        if shutil.which("ccache"):
            options += ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache", "-DCMAKE_C_COMPILER_LAUNCHER=ccache"]
        status, output = self._run(["cmake", "--preset", self.preset, *options])
        if status != 0:
            raise Trouble(f"the copy of the tree cannot be configured:\n{output[-3000:]}")

    @property
    def environment(self):
        """The environment variables that the preset sets for its tests, as "NAME=value"."""
        presets = json.loads((self.copy / "CMakePresets.json").read_text())["testPresets"]
        by_name = {each["name"]: each for each in presets}
        settings = environment_of(by_name, self.preset)
        return tuple(f"{name}={value.replace('${sourceDir}', str(self.copy))}" for name, value in settings.items())

    @property
    def database(self):
        return self.folder / "compile_commands.json"

    def build(self, faults):
        """@param faults: by number. @return the faults that compile; the build with them has succeeded."""
        faults = dict(faults)
        for round_number in range(1, ROUNDS + 1):
            rewritten = self._rewrite(faults)
            self._write({path: each.text for path, each in rewritten.items()})
            self.progress(f"builds with {len(faults)} faults, round {round_number}")
            targets = ["--target", *self.targets] if self.targets else []
            status, output = self._run(
                ["cmake", "--build", str(self.folder), "-j", str(self.jobs), *targets, "--", "-k", "0"])
            if status == 0:
                return faults
            wrong = self.wrong_faults(output, rewritten)
            if not wrong:
                raise Trouble(f"the build fails, and not because of a fault:\n{output[-6000:]}")
            for number in wrong:
                del faults[number]
        raise Trouble(f"the build still fails after {ROUNDS} rounds:\n{output[-6000:]}")

    def built(self, tests):
        """@return the tests whose programs and libraries exist."""
        inside = re.compile(re.escape(f"{self.folder}/") + r"[^:;=\s]+")
        return [test for test in tests if not test.name.endswith("_NOT_BUILT") and all(
            os.path.exists(path) for word in (*test.command, *test.environment) for path in inside.findall(word))]

    def _rewrite(self, faults):
        by_path = {}
        for number, fault in faults.items():
            by_path.setdefault(fault.path, []).append((number, fault))
        return {path: rewrite((self.root / path).read_bytes(), each, self.header) for path, each in by_path.items()}

    def wrong_faults(self, output, rewritten):
        """@return the numbers of the faults that cause the compiler's errors. An error in a header of another library
        belongs to the line of doorbell that the compiler names with it."""
        wrong, uncertain = set(), set()
        is_of_error = False
        names = {}
        for found in LOCATION.finditer(output):
            file = found["file"]
            if file not in names:
                path = Path(os.path.normpath(self.folder / file))
                names[file] = str(path.relative_to(self.copy)) if path.is_relative_to(self.copy) else ""
            each = rewritten.get(names[file])
            is_error = found["what"].startswith(("error", "fatal error"))
            if each is not None and (is_error or "required from" in found["what"]):
                place = int(found["line"]) + HEADER_LINES
                numbers = each.faults_at(place, int(found["column"])) or each.faults_on(place)
                (wrong if is_error else uncertain).update(numbers)
            is_of_error = is_of_error or is_error
        return wrong or (uncertain if is_of_error else set())

    def _write(self, rewritten, keep_rewritten=False):
        """Unchanged files keep their time, so that they are not compiled again."""
        wanted = files_of(self.root)
        first_words = f'#include "{self.header}"'.encode()
        for name in wanted:
            target = self.copy / name
            new = rewritten.get(str(name))
            if new is None:
                new = (self.root / name).read_bytes()
            old = target.read_bytes() if target.is_file() else None
            if old == new or (keep_rewritten and old is not None and old.startswith(first_words)):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(new)
            shutil.copymode(self.root / name, target)
        for name in files_of(self.copy) - wanted:
            (self.copy / name).unlink()

    def _run(self, command):
        environment = {**os.environ, "CCACHE_BASEDIR": str(self.copy), "CCACHE_NOHASHDIR": "1",
                       "CCACHE_IGNOREOPTIONS": "-Werror"}
        ended = subprocess.run(command, cwd=self.copy, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace")
        return ended.returncode, ended.stdout
