#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmark programs, prints the table of speeds, and writes it with a picture and plots to a folder.

All benchmarks of a program run interleaved, repetition by repetition in random order, so that a disturbance of the
machine affects doorbell and its peers alike; medians are compared. Where two sides differ by less than the machine
varies from one second to the next, one benchmark measures them alternately; the ratio is then computed in each
repetition, and the median of the ratios counts. A missed target is reported and is not a failure: the exit status is
that of the measurement.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import fio
import growth
import picture
import publish
import results
from results import markdown, nanoseconds, side_and_benchmark
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
    parser.add_argument("--repetitions", type=int, default=15, metavar="N",
                        help="of each benchmark (default: 15); 15 times as many if it measures sides alternately")
    parser.add_argument("--quick", action="store_true", help="5 short repetitions: to see that it works")
    parser.add_argument("--picture", type=Path, metavar="FILE",
                        help="measure nothing: draw the results that FILE (.json) contains, to the same name with .svg")
    parser.add_argument("--publish", type=Path, metavar="FILE",
                        help="measure nothing: put the results that FILE (JSON) contains into README.md and docs/")
    parser.add_argument("--curves", choices=("also", "only", "no"), default=None,
                        help="how costs grow with the number of objects: measured after the table (the default if "
                             "neither --rows nor --quick is given), instead of it, or not")
    parser.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    if arguments.curves is None:
        arguments.curves = "no" if arguments.rows or arguments.quick else "also"
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


# The factor by which benchmarks that measure several sides alternately are repeated more often.
MORE_IF_ALTERNATING = 15


def repetitions_of(names, arguments):
    alternating = any(side_and_benchmark(name)[0] for name in names)
    return arguments.repetitions * (MORE_IF_ALTERNATING if alternating and not arguments.quick else 1)


def run(program, names, arguments):
    """Runs the benchmarks of one program.

    Returns {name: [nanoseconds in each repetition]}, {benchmark: [share of the counts lost in each repetition]} for the
    benchmarks that can lose counts, and the program's facts about the machine and its libraries.
    """
    repetitions = repetitions_of(names, arguments)
    benchmarks = sorted({side_and_benchmark(name)[1] for name in names})
    print(f"{program}: {len(benchmarks)} benchmarks, {repetitions} repetitions ...", file=sys.stderr, flush=True)
    output_file = arguments.output / f"{program}.json"
    command = [
        arguments.programs / program,
        f"--benchmark_filter=^({'|'.join(map(re.escape, benchmarks))})$",
        f"--benchmark_repetitions={repetitions}",
        f"--benchmark_min_time={arguments.seconds:g}",
        "--benchmark_enable_random_interleaving=true",
        f"--benchmark_out={output_file}",
        "--benchmark_out_format=json",
    ]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{program} failed:\n{ended.stdout}")
    output = json.loads(output_file.read_text())
    times = {name: [] for name in names}
    lost = {}
    for result in output["benchmarks"]:
        if result["run_type"] != "iteration":
            continue
        benchmark = result["run_name"].removesuffix(f"/repeats:{repetitions}")
        # Google Benchmark marks in the name that a benchmark measures real time.
        clock = "real_time" if "/real_time" in benchmark else "cpu_time"
        for name in names:
            side, of_which = side_and_benchmark(name)
            if of_which == benchmark:
                times[name].append(result[side] if side else result[clock] * NANOSECONDS[result["time_unit"]])
        if "lost" in result:
            lost.setdefault(benchmark, []).append(result["lost"])
    return times, lost, output["context"]


def measure(rows, arguments):
    """As run(), for all programs together."""
    together = {}, {}, {}
    for program, names in benchmarks_of(rows).items():
        outputs = fio.run(names, arguments) if program == "fio" else run(program, names, arguments)
        for of_all, of_program in zip(together, outputs):
            of_all |= of_program
    return together


def aligned(lines):
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def machine(load, context):
    """The facts that a reader needs to judge the figures: date, machine and versions of the peers. No host names."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kernel = Path("/proc/sys/kernel/osrelease").read_text()
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{cpu[1].strip() if cpu else platform.machine()}, {os.cpu_count()} CPUs",
        "linux": re.match(r"[\d.]*\d", kernel)[0],  # without the name that its builder gave it
        "load": load,
    }
    names = ("Compiler", "glibc", "Boost", "libuv", "fio")
    versions = {name.lower(): context[name] for name in names if name in context}
    if versions.get("compiler", "")[:1].isdigit():  # g++ names itself by its version alone
        versions["compiler"] = f"g++ {versions['compiler']}"
    return facts | {name: version.removeprefix("fio-").replace("_", ".") for name, version in versions.items()}


def spread(times):
    lines = [("benchmark", "median", "quartiles", "fastest", "slowest")]
    for name, values in sorted(times.items()):
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        lines.append((f"`{name}`", nanoseconds(statistics.median(values)), f"{nanoseconds(low)} to {nanoseconds(high)}",
                      nanoseconds(min(values)), nanoseconds(max(values))))
    return lines


def plot(path, row, times):
    """One bar for each side, with its median and quartiles. The axis starts at 0, so that lengths are comparable."""
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


def write_report(arguments, rows, measured, times, lost, facts):
    plots = []
    for place, row in enumerate(rows):
        path = arguments.output / f"{row.number:02}-{place}.svg"
        plot(path, row, times)
        plots.append(f"![{row.work}]({path.name})")
    losses = [f"- `{name}` lost {statistics.median(shares):.1%} of the counts; no other peer of its row loses any."
            for name, shares in lost.items()]
    sections = ["# Speed", "![Results](results.svg)", markdown(results.table_of(measured)), *losses,
                "## Machine", "\n".join(f"- {name}: {value}" for name, value in facts.items()),
                "## Peers and settings", SETTINGS,
                f"- Each benchmark is repeated {arguments.repetitions} times, interleaved at random; one repetition "
                f"takes at least {arguments.seconds:g} s. Benchmarks that measure several sides alternately are "
                f"repeated {repetitions_of(['one@'], arguments)} times, and the table shows the standard error of "
                "their ratios. The benchmarks of fio are repeated at most 7 times.",
                "## Plots", *plots, "## Spread", markdown(spread(times))]
    (arguments.output / "report.md").write_text("\n\n".join(sections) + "\n")


def write_picture(measured, path):
    path.write_text(picture.draw(measured))
    print(f"Picture: {path}")


def measure_curves(arguments):
    arguments.output.mkdir(parents=True, exist_ok=True)
    found = growth.run(arguments.programs, arguments.output)
    print(aligned(growth.table_of(found)))
    plots = [f"![{curve.cost}, among {curve.among}]({name})"
             for curve, name in growth.plot_all(arguments.output, found)]
    path = arguments.output / "growth.md"
    path.write_text("\n\n".join(["# How costs grow", markdown(growth.table_of(found)), *plots]) + "\n")
    print(f"\nCurves: {path}")


def measure_and_report(arguments):
    rows = [row for row in ROWS if arguments.rows is None or row.number in arguments.rows]
    arguments.output.mkdir(parents=True, exist_ok=True)
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    times, lost, context = measure(rows, arguments)
    facts = machine(load, context)
    measured = results.results_of(rows, times, facts)
    print(aligned(results.table_of(measured)))
    write_report(arguments, rows, measured, times, lost, facts)
    print(f"\nReport: {arguments.output / 'report.md'}")
    results.write(measured, arguments.output / "results.json")
    write_picture(measured, arguments.output / "results.svg")


def main():
    arguments = parse_arguments()
    if arguments.check_arguments:
        return
    try:
        if arguments.publish:
            publish.publish(arguments.publish, Path(__file__).resolve().parent.parent)
        elif arguments.picture:
            write_picture(results.read(arguments.picture), arguments.picture.with_suffix(".svg"))
        else:
            if arguments.curves != "only":
                measure_and_report(arguments)
            if arguments.curves != "no":
                measure_curves(arguments)
    except (RuntimeError, OSError, ValueError) as failure:
        sys.exit(f"scripts/bench: {failure}")


if __name__ == "__main__":
    main()
