# SPDX-License-Identifier: Apache-2.0
"""The rows that fio measures: the drop-in against the kernel's AIO and against fio's own io_uring engine.

The name of a benchmark contains its work and its side: "fio/hot/depth:32/doorbell". Each repetition runs all of them,
in random order, each in its own process.
"""
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
FILE_MIB = 96
# The duration of a run. A run with a cold page cache ends when each block has been read once.
SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """One kind of work."""

    options: tuple[str, ...]
    in_memory: bool = False  # on tmpfs
    cold: bool = False  # each block once, none of them in the page cache
    submit_time: bool = False  # the result is the time in io_submit, not the time per read
    client: bool = False  # run by bench/resfd_client.c, not by fio

    def arguments(self, file, seconds):
        often = () if self.cold else ("--time_based", f"--runtime={seconds}", "--norandommap")
        clocks = ("--clat_percentiles=0",) if self.submit_time else ("--gtod_reduce=1",)
        return ("--name=row", f"--filename={file}", f"--size={FILE_MIB}m", "--rw=randread", f"--bs={BLOCK}",
                f"--invalidate={int(self.cold)}", "--thread", "--output-format=json", *often, *clocks, *self.options)


def depth(number, *more):
    return (f"--iodepth={number}", *more)


# The clients that read with O_DIRECT: how each gets its events, and its number of threads.
DIRECT_CLIENTS = {
    "direct_calls": ("--calls",),
    "direct_calls_by_4_threads": ("--calls", "--threads=4"),
    "direct_ring": (),
}
CLIENT_DEPTHS = (1, 4, 32, 128)

JOBS = {
    "hot/depth:1": Job(depth(1)),
    "hot/depth:32": Job(depth(32)),
    "hot/batches_of_16": Job(depth(32, "--iodepth_batch_submit=16", "--iodepth_batch_complete_min=1",
                                   "--iodepth_batch_complete_max=16")),
    "tmpfs/depth:1": Job(depth(1), in_memory=True),
    "tmpfs/depth:32": Job(depth(32), in_memory=True),
    "cold/depth:32": Job(depth(32), cold=True),
    "direct/depth:1": Job(depth(1, "--direct=1")),
    "direct/depth:32": Job(depth(32, "--direct=1")),
    "direct/depth:128": Job(depth(128, "--direct=1")),
    "four_jobs/read": Job(depth(64, "--direct=1", "--numjobs=4", "--group_reporting")),
    "four_jobs/write": Job(depth(64, "--direct=1", "--numjobs=4", "--group_reporting", "--rw=randwrite")),
    "submit/depth:32": Job(depth(32), cold=True, submit_time=True),
    "client/depth:1": Job(("1",), client=True),
    "client/depth:32": Job(("32",), client=True),
    **{f"{work}/depth:{depth}": Job(("--direct", *options, str(depth)), client=True)
       for work, options in DIRECT_CLIENTS.items() for depth in CLIENT_DEPTHS},
}

# For each side: the command that runs the program, and fio's name of the engine.
SIDES = {
    "doorbell": (("libaio/bin/doorbell-run", "--"), "libaio"),
    "threads": (("libaio/bin/doorbell-run", "--engine=threads", "--"), "libaio"),
    "kernel": ((), "libaio"),
    "io_uring": ((), "io_uring"),
    "pread": ((), "psync"),
}


class Files:
    """The files that fio reads: one in the output folder, one on tmpfs. Random data, which cannot be compressed."""

    def __init__(self, folder):
        self.disk = folder / "fio.data"
        self.memory = Path("/dev/shm") / f"doorbell-bench-{os.getpid()}"

    def __enter__(self):
        for path in (self.disk, self.memory):
            with open(path, "wb") as file:
                for _ in range(FILE_MIB):
                    file.write(os.urandom(1 << 20))
                os.fsync(file.fileno())
        return self

    def __exit__(self, *_):
        self.disk.unlink(missing_ok=True)
        self.memory.unlink(missing_ok=True)


def command(name, files, arguments):
    _, work, depth_or_batch, side = name.split("/")
    job = JOBS[f"{work}/{depth_or_batch}"]
    before, engine = SIDES[side]
    build = arguments.programs.parent
    before = (build / before[0], *before[1:]) if before else ()
    file = files.memory if job.in_memory else files.disk
    if job.client:
        return job, (*before, arguments.programs / "resfd_client", file, *job.options)
    return job, (*before, "fio", f"--ioengine={engine}", *job.arguments(file, SECONDS * arguments.seconds / 0.1))


def result_of(name, files, arguments):
    """Nanoseconds for each read or write, or in each io_submit."""
    job, words = command(name, files, arguments)
    ended = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{name} failed:\n{ended.stdout}{ended.stderr}")
    if job.client:
        return float(ended.stdout.split()[0])
    output = json.loads(ended.stdout[ended.stdout.index("{"):])["jobs"][0]
    if output["error"] != 0:
        raise RuntimeError(f"{name} failed: fio's error {output['error']}")
    if job.submit_time:
        return output["read"]["slat_ns"]["mean"]
    return 1e9 / (output["read"]["iops"] + output["write"]["iops"])


def warm(name, files):
    """Reads the whole file into the page cache: a previous run may have evicted it."""
    if name.split("/")[1] in ("hot", "client"):
        files.disk.read_bytes()


def run(names, arguments):
    """As report.run(), for the benchmarks of these rows."""
    if shutil.which("fio") is None:
        raise RuntimeError("fio is not installed: scripts/deps installs it")
    repetitions = min(arguments.repetitions, 7)
    print(f"fio: {len(names)} benchmarks, {repetitions} repetitions ...", file=sys.stderr, flush=True)
    times = {name: [] for name in names}
    with Files(arguments.output) as files:
        for _ in range(repetitions):
            for name in random.sample(sorted(names), len(names)):
                warm(name, files)
                times[name].append(result_of(name, files, arguments))
    version = subprocess.run(["fio", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return times, {}, {"fio": version}
