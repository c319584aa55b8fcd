# SPDX-License-Identifier: Apache-2.0
"""Copies of the working tree, in which mutants are built and run."""
import dataclasses
import os
import shutil
import signal
import subprocess
import time

from .mutant import ROOT, Trouble

COPIES = ROOT / "build" / "mutants"


@dataclasses.dataclass(frozen=True)
class Run:
    seconds: float
    status: int
    timed_out: bool
    output: str

    @property
    def green(self):
        return self.status == 0 and not self.timed_out

    @property
    def hangs(self):
        return self.timed_out or self.status == -signal.SIGALRM  # the tests' watchdog sends it


def files_of(tree):
    """@return all files except those of builds and of git."""
    tops = [top for top in tree.iterdir() if top.name not in ("build", ".git")] if tree.is_dir() else []
    return {path.relative_to(tree) for top in tops for path in (top, *top.rglob("*")) if path.is_file()}


class Tree:
    """A copy, with a separate build for each preset."""

    def __init__(self, number, build_jobs):
        self.path = COPIES / str(number)
        self.build_jobs = build_jobs

    def refresh(self):
        """Copies the working tree again. Unchanged files keep their time, so that they are not compiled again."""
        wanted = files_of(ROOT)
        for name in wanted:
            copy, original = self.path / name, ROOT / name
            if copy.is_file() and copy.read_bytes() == original.read_bytes():
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, copy)
            shutil.copymode(original, copy)
        for name in files_of(self.path) - wanted:
            (self.path / name).unlink()

    def apply(self, mutant):
        # The copy is inside the repository: without this setting, git would apply the patch to the repository itself.
        outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(COPIES)}
        ended = subprocess.run(["git", "apply", mutant.patch], cwd=self.path, env=outside, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        if ended.returncode != 0:
            raise Trouble("does not apply\n" + ended.stdout)

    def build(self, preset, programs):
        folder = self.path / "build" / preset
        if not (folder / "build.ninja").is_file():
            # A mutant may leave a variable unused. A test must catch the mutant, not a warning of the compiler.
            options = ["-DDOORBELL_WERROR=OFF", "-DDOORBELL_BUILD_EXAMPLES=OFF", "-DDOORBELL_BUILD_BENCH=OFF"]
            if shutil.which("ccache"):
                options.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
            self._run_tool(["cmake", "--preset", preset, *options])
        self._run_tool(["cmake", "--build", folder, "-j", str(self.build_jobs), "--target", *programs])

    def _run_tool(self, command):
        # With these settings ccache shares results between copies.
        cached = {**os.environ, "CCACHE_BASEDIR": str(self.path), "CCACHE_NOHASHDIR": "1"}
        ended = subprocess.run(command, cwd=self.path, env=cached, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
        if ended.returncode != 0:
            raise Trouble("does not compile\n" + ended.stdout)

    def program(self, catcher):
        found = list(self.path.glob(f"build/{catcher.preset}/tests/*/{catcher.program}"))
        if len(found) != 1:
            raise Trouble(f"no test program {catcher.program}")
        return found[0]

    def folder(self, catcher):
        """@return unit, conformance, dropin, stress or model."""
        return self.program(catcher).parent.name

    def dropin(self, catcher):
        """@return the libraries to preload for a test program of the drop-in."""
        found = []
        for library in ("libdoorbell-syscall.so", "libaio.so.1"):
            found += sorted(self.path.glob(f"build/{catcher.preset}/libaio/**/{library}"))
        if len(found) != 2:
            raise Trouble(f"no drop-in for {catcher.program}")
        return found

    def run(self, command, environment, limit):
        begin = time.monotonic()
        # The test runs in a separate session, so that its children can be killed with it. Its output goes to a file,
        # because a child of a test that hangs may keep a pipe open.
        with open(self.path / "build" / "output", "w+b") as output:
            running = subprocess.Popen(command, cwd=self.path, env={**os.environ, **environment},
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                       start_new_session=True)
            try:
                running.wait(limit)
                timed_out = False
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                try:
                    os.killpg(running.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                running.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        return Run(time.monotonic() - begin, running.returncode, timed_out, text)
