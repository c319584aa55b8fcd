#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmark programs, prints the table of speeds, and writes it with plots to a folder.

All benchmarks of a program are run interleaved, repetition by repetition in random order, so that what disturbs the machine
disturbs ours and peers alike; what is compared are medians. Where the two differ by less than the machine does from one second to
the next, one benchmark measures both by turns; then it is the ratio that is taken in each repetition, and its median that counts. A target that is missed is reported and is no failure: the exit
status is that of the measuring.
"""
import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import fio
from table import ROWS, SETTINGS

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def parse_rows(text):
    """'1-5,8' -> {1, 2, 3, 4, 5, 8}"""
    numbers = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    if not numbers & {row.number for row in ROWS}:
        raise ValueError
    return numbers


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=parse_rows, default=None, metavar="1-5,8", help="only these rows of the table")
    parser.add_argument("--repetitions", type=int, default=15, metavar="N", help="of each benchmark (default: 15); of those that measure by turns 15 times as many")
    parser.add_argument("--quick", action="store_true", help="5 short repetitions: to see that it works")
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    arguments.seconds = 0.1
    if arguments.quick:
        arguments.repetitions, arguments.seconds = 5, 0.02
    return arguments


def benchmarks_of(rows):
    """The names to run, by program."""
    names = {}
    for row in rows:
        names.setdefault(row.program, set()).update([row.ours, *(peer.benchmark for peer in row.against)])
    return names


def side_and_benchmark(name):
    """'doorbell@files/depth:1' -> ('doorbell', 'files/depth:1'); no side: ''"""
    side, _, benchmark = name.rpartition("@")
    return side, benchmark


def are_by_turns(one, other):
    """Whether two sides are measured by the same benchmark."""
    (one_side, one_benchmark), (_, other_benchmark) = map(side_and_benchmark, (one, other))
    return one_side != "" and one_benchmark == other_benchmark


# How many times as many repetitions of what is measured by turns.
MORE_BY_TURNS = 15


def repetitions_of(names, arguments):
    by_turns = any(side_and_benchmark(name)[0] for name in names)
    return arguments.repetitions * (MORE_BY_TURNS if by_turns and not arguments.quick else 1)


def run(program, names, arguments):
    """Runs the benchmarks of one program.

    Returns {name: [nanoseconds of each repetition]}, the same of the shares of counts that were lost, and what the program
    says of the machine and of its libraries.
    """
    repetitions = repetitions_of(names, arguments)
    benchmarks = sorted({side_and_benchmark(name)[1] for name in names})
    print(f"{program}: {len(benchmarks)} benchmarks, {repetitions} repetitions ...", file=sys.stderr, flush=True)
    output = arguments.output / f"{program}.json"
    command = [
        arguments.programs / program,
        f"--benchmark_filter=^({'|'.join(map(re.escape, benchmarks))})$",
        f"--benchmark_repetitions={repetitions}",
        f"--benchmark_min_time={arguments.seconds:g}",
        "--benchmark_enable_random_interleaving=true",
        f"--benchmark_out={output}",
        "--benchmark_out_format=json",
    ]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{program} failed:\n{ended.stdout}")
    told = json.loads(output.read_text())
    times = {name: [] for name in names}
    lost = {}
    for result in told["benchmarks"]:
        if result["run_type"] != "iteration":
            continue
        benchmark = result["run_name"].removesuffix(f"/repeats:{repetitions}")
        # Google Benchmark says in the name which of the two times a benchmark is about.
        clock = "real_time" if "/real_time" in benchmark else "cpu_time"
        for name in names:
            side, of_which = side_and_benchmark(name)
            if of_which == benchmark:
                times[name].append(result[side] if side else result[clock] * NANOSECONDS[result["time_unit"]])
        if "lost" in result:
            lost.setdefault(benchmark, []).append(result["lost"])
    return times, lost, told["context"]


def measure(rows, arguments):
    """The same of all programs together."""
    together = {}, {}, {}
    for program, names in benchmarks_of(rows).items():
        told_by = fio.run(names, arguments) if program == "fio" else run(program, names, arguments)
        for all_told, told in zip(together, told_by):
            all_told |= told
    return together


def ratio(ours, peer, times):
    """(how many times as fast as the peer's ours is, its standard error, where that can be told)."""
    if not are_by_turns(ours, peer):
        return statistics.median(times[peer]) / statistics.median(times[ours]), None
    ratios = [theirs / mine for mine, theirs in zip(times[ours], times[peer], strict=True)]
    if len(ratios) < 2:
        return ratios[0], None
    low, _, high = statistics.quantiles(ratios, n=4)
    # Of the median of what is spread about as a normal distribution is, by its quartiles.
    return statistics.median(ratios), 1.253 * (high - low) / 1.349 / math.sqrt(len(ratios))


def verdict(faster, error, peer):
    """(ratio, target, what to say of it)"""
    if peer.at_most is not None:
        longer = 1 / faster
        return f"{longer:.2f}x its time", f"<= {peer.at_most:g}x", "met" if longer <= peer.at_most else "MISSED"
    said = f"{faster:.2f}x as fast" if error is None else f"{faster:.3f}x as fast ± {error:.3f}"
    if peer.at_least is not None:
        return said, f">= {peer.at_least:g}x", "met" if faster >= peer.at_least else "MISSED"
    return (said if faster >= 1 else f"{1 / faster:.2f}x its time"), "", ""


def nanoseconds(value):
    return f"{value:.2f} ns" if value < 100 else f"{value:.0f} ns" if value < 10_000 else f"{value / 1000:.1f} us"


def table_of(rows, times):
    lines = [("#", "work", "ours", "against", "peer", "ratio", "target", "")]
    for row in rows:
        ours = statistics.median(times[row.ours])
        head = (row.label, row.work, nanoseconds(ours))
        for peer in row.against:
            theirs = statistics.median(times[peer.benchmark])
            lines.append((*head, peer.name, nanoseconds(theirs), *verdict(*ratio(row.ours, peer.benchmark, times), peer)))
            head = ("", "", "")
    return lines


def aligned(lines):
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def markdown(lines):
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


def machine(load, context):
    """Which machine, when, and which peers: facts that a reader needs to weigh the figures, and no names of hosts."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kernel = Path("/proc/sys/kernel/osrelease").read_text().strip()
    facts = {
        "CPU": f"{cpu[1] if cpu else 'unknown'}, {os.cpu_count()} of them",
        "Linux": kernel,
        "Date": time.strftime("%Y-%m-%d"),
        "Load when it began": load,
    }
    facts |= {name: context[name] for name in ("Compiler", "glibc", "Boost", "libuv", "fio") if name in context}
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def spread(times):
    lines = [("benchmark", "median", "quartiles", "fastest", "slowest")]
    for name, values in sorted(times.items()):
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        lines.append((f"`{name}`", nanoseconds(statistics.median(values)), f"{nanoseconds(low)} to {nanoseconds(high)}",
                      nanoseconds(min(values)), nanoseconds(max(values))))
    return lines


def plot(path, row, times):
    """One bar for each side, of its median, with the quartiles. To scale, from 0, or the shorter bar would lie."""
    sides = [("doorbell", row.ours), *((peer.name, peer.benchmark) for peer in row.against)]
    data = []
    for place, (name, benchmark) in enumerate(sides):
        values = times[benchmark]
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        data.append(f'{place} {statistics.median(values)} {low} {high} {1 if place == 0 else 2} "{name}"')
    script = f"""
set terminal svg size 800,{120 + 40 * len(sides)} font "sans-serif,13" background rgb "white"
set output "{path}"
set tmargin 3
set label "{row.label}. {row.work}" at screen 0.02, screen 0.93 noenhanced
set xlabel "nanoseconds, median and quartiles"
set xrange [0:*]
set yrange [{len(sides) - 0.4}:-0.6]
set border 1
set xtics nomirror
set ytics scale 0 noenhanced
set style fill solid
unset key
$data << end
{chr(10).join(data)}
end
plot $data using ($2/2):1:($2/2):(0.3):($5==1 ? 0x1f77b4 : 0xb0b0b0):ytic(6) with boxxyerror linecolor rgb variable, \\
     $data using 2:1:3:4 with xerrorbars linecolor rgb "black" pointtype 0
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def write_report(arguments, rows, lines, times, lost, facts):
    plots = []
    for place, row in enumerate(rows):
        path = arguments.output / f"{row.number:02}-{place}.svg"
        plot(path, row, times)
        plots.append(f"![{row.work}]({path.name})")
    losses = [f"- `{name}` lost {statistics.median(shares):.1%} of the counts; no other peer of its row loses any."
            for name, shares in lost.items()]
    sections = ["# Speed", markdown(lines), *losses, "## Machine", facts, "## Peers and settings", SETTINGS,
                f"- {arguments.repetitions} repetitions of at least {arguments.seconds:g} s, interleaved in random order; of what is measured "
                f"by turns {repetitions_of(['one@'], arguments)}, with the standard error of the ratio; of fio's rows 7 at the most.",
                "## Plots", *plots, "## Spread", markdown(spread(times))]
    (arguments.output / "report.md").write_text("\n\n".join(sections) + "\n")


def main():
    arguments = parse_arguments()
    rows = [row for row in ROWS if arguments.rows is None or row.number in arguments.rows]
    arguments.output.mkdir(parents=True, exist_ok=True)
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    try:
        times, lost, context = measure(rows, arguments)
    except (RuntimeError, OSError) as failure:
        sys.exit(f"scripts/bench: {failure}")
    lines = table_of(rows, times)
    print(aligned(lines))
    write_report(arguments, rows, lines, times, lost, machine(load, context))
    print(f"\nReport: {arguments.output / 'report.md'}")


if __name__ == "__main__":
    main()
