# SPDX-License-Identifier: Apache-2.0
"""How costs grow: runs the program `growth`, and makes a table and a plot of each curve.

A curve is data. To add one: write the benchmarks growth/NAME/SIDE/N, and a Curve here that names them.
"""
import json
import math
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass

from results import nanoseconds


@dataclass(frozen=True)
class Curve:
    name: str  # of the benchmarks: growth/NAME/SIDE/N
    cost: str  # what is measured
    among: str  # what N counts
    value: str = "time"  # "each": the time divided by N; "bytes": memory divided by N
    number: int | None = None  # the row of the table of speeds that shows the largest N
    at_most: float | None = None  # the target of that row, in the unit of `value`


CURVES = (
    Curve("notifiers", "a signal, for each notifier", "notifiers of one eventfd", "each"),
    Curve("hup", "HUP, for each notifier", "notifiers of one eventfd", "each", 19, 20),
    Curve("eventfds", "a signal of one eventfd", "eventfds"),
    Curve("eventfds", "memory of an eventfd", "eventfds", "bytes", 11, 96),
    Curve("eventfds_made", "create + close", "eventfds"),
    Curve("contexts_made", "io_setup + io_destroy", "contexts"),
    Curve("contexts_used", "io_submit + io_getevents of a ready poll", "contexts, each used in turn"),
    Curve("in_flight", "io_submit + io_getevents of a ready poll", "other requests in flight"),
    Curve("threads", "io_submit + io_getevents of a cached read", "threads of one context"),
    Curve("files", "io_submit + io_getevents of a cached read", "files, each read in turn"),
    Curve("completions", "a completion that signals an eventfd", "completions of one io_submit", "each"),
)
SIDES = ("doorbell", "kernel")
REPETITIONS = 3
SECONDS = 0.05
# A curve grows faster than linearly if its cost grows by more than this from N to 10 N, at two steps in a row. The
# caches of the processor explain one such step.
FASTER_THAN_LINEAR = 3


def run(programs, output):
    """Runs the program. Returns {(curve's name, side, value): {N: median}}."""
    file = output / "growth.json"
    print(f"growth: {len(CURVES)} curves, {REPETITIONS} repetitions ...", file=sys.stderr, flush=True)
    ended = subprocess.run([programs / "growth", f"--benchmark_repetitions={REPETITIONS}",
                            f"--benchmark_min_time={SECONDS:g}", f"--benchmark_out={file}",
                            "--benchmark_out_format=json"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"growth failed:\n{ended.stdout}")
    return points(json.loads(file.read_text())["benchmarks"])


def points(benchmarks):
    """The medians of the repetitions, as run() returns them. Times are in nanoseconds."""
    found = {}
    for result in benchmarks:
        if result["run_type"] != "iteration":
            continue
        named = re.match(r"growth/(\w+)/(\w+)/(?:real_time/threads:)?(\d+)", result["run_name"])
        clock = "real_time" if "_time" in result["run_name"].split("/", 3)[3] else "cpu_time"
        values = {"time": result[clock]}
        if "each" in result:
            values["each"] = result["each"] * 1e9
        if "bytes" in result:
            values["bytes"] = result["bytes"]
        for value, amount in values.items():
            found.setdefault((named[1], named[2], value), {}).setdefault(int(named[3]), []).append(amount)
    return {key: {n: statistics.median(amounts) for n, amounts in curve.items()} for key, curve in found.items()}


def sides_of(curve, found):
    return {side: found[curve.name, side, curve.value] for side in SIDES if (curve.name, side, curve.value) in found}


def steps(curve):
    """The factors by which the cost grows from each N to the next."""
    amounts = [amount for _, amount in sorted(curve.items()) if amount > 0]
    return [later / earlier for earlier, later in zip(amounts, amounts[1:])]


def grows_too_fast(curve):
    return any(min(pair) > FASTER_THAN_LINEAR for pair in zip(steps(curve), steps(curve)[1:]))


def amount_of(curve, amount):
    return f"{amount:.1f} bytes" if curve.value == "bytes" else nanoseconds(amount)


def verdict(curve, side, of_side):
    if side != "doorbell":
        return ""
    told = ["grows faster than linearly"] if curve.value != "bytes" and grows_too_fast(of_side) else []
    if curve.at_most is not None:
        last = of_side[max(of_side)]
        unit = "bytes" if curve.value == "bytes" else "ns"
        told.append(f"row {curve.number}, at most {curve.at_most:g} {unit}: "
                    f"{'met' if last <= curve.at_most else 'missed'}")
    return "; ".join(told)


def table_of(found):
    """A line for each side of each curve: the cost with the smallest N, one in the middle, and the largest."""
    lines = [("cost", "side", "among N", "smallest", "middle", "largest", "")]
    for curve in CURVES:
        for side, of_side in sides_of(curve, found).items():
            numbers = sorted(n for n, amount in of_side.items() if amount > 0)
            if not numbers:
                continue
            chosen = (numbers[0], numbers[len(numbers) // 2], numbers[-1])
            lines.append((curve.cost, side, curve.among,
                          *(f"{n:,}: {amount_of(curve, of_side[n])}" for n in chosen), verdict(curve, side, of_side)))
    return lines


def plot(path, curve, found):
    """The cost over N. Both axes are logarithmic: a flat line is a cost that does not grow."""
    sides = sides_of(curve, found)
    amounts = [amount for of_side in sides.values() for amount in of_side.values() if amount > 0]
    lowest, highest = 10 ** math.floor(math.log10(min(amounts))), 10 ** math.ceil(math.log10(max(amounts) * 1.01))
    unit = "bytes" if curve.value == "bytes" else "nanoseconds"
    blocks = ["\n".join(f"{n} {amount}" for n, amount in sorted(of_side.items()) if amount > 0)
              for of_side in sides.values()]
    plots = ", \\\n     ".join(
        f'$data{place} with linespoints linewidth 2 pointtype 7 pointsize 0.5 linecolor rgb '
        f'"{"#1f77b4" if side == "doorbell" else "#888888"}" title "{side}"' for place, side in enumerate(sides))
    data = "\n".join(f"$data{place} << end\n{block}\nend" for place, block in enumerate(blocks))
    script = f"""
set terminal svg size 800,320 font "sans-serif,13" background rgb "white"
set output "{path}"
set title "{curve.cost}" noenhanced
set xlabel "{curve.among}" noenhanced
set ylabel "{unit}"
set logscale xy
set format x "10^{{%T}}"
set yrange [{lowest}:{highest}]
set grid ytics linecolor rgb "#dddddd"
set key outside right top
{data}
plot {plots}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def plot_all(output, found):
    """Returns the names of the files."""
    names = []
    for curve in CURVES:
        if any(amount > 0 for of_side in sides_of(curve, found).values() for amount in of_side.values()):
            path = output / f"growth-{curve.name}-{curve.value}.svg"
            plot(path, curve, found)
            names.append((curve, path.name))
    return names
