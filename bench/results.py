# SPDX-License-Identifier: Apache-2.0
"""The results of one run as JSON, from which the tables and the picture are made.

    {"date", "processor", "linux", ...: facts about the machine
     "rows": [{"label", "group", "work", "brief", "is_key", "ours": ns,
               "against": [{"name", "brief", "kind", "time": ns, "ratio", "error", "at_least", "at_most", "met"}]}]}

`ratio` is doorbell's speed divided by the peer's, `error` its standard error or null, `met` is null without a
target.
"""
import json
import math
import statistics


def side_and_benchmark(name):
    """'doorbell@files/depth:1' -> ('doorbell', 'files/depth:1'); no side: ''"""
    side, _, benchmark = name.rpartition("@")
    return side, benchmark


def are_paired(one, other):
    """Whether one benchmark measures both sides, alternately."""
    (one_side, one_benchmark), (_, other_benchmark) = map(side_and_benchmark, (one, other))
    return one_side != "" and one_benchmark == other_benchmark


def ratio(ours, peer, times):
    """(doorbell's speed divided by the peer's, its standard error or None)."""
    if not are_paired(ours, peer):
        return statistics.median(times[peer]) / statistics.median(times[ours]), None
    ratios = [theirs / mine for mine, theirs in zip(times[ours], times[peer], strict=True)]
    if len(ratios) < 2:
        return ratios[0], None
    low, _, high = statistics.quantiles(ratios, n=4)
    # The standard error of a median, if the middle half of the values is spread as in a normal distribution.
    return statistics.median(ratios), 1.253 * (high - low) / 1.349 / math.sqrt(len(ratios))


def is_met(faster, peer):
    if peer.at_most is not None:
        return 1 / faster <= peer.at_most
    return None if peer.at_least is None else faster >= peer.at_least


def comparison(row, peer, times):
    faster, error = ratio(row.ours, peer.benchmark, times)
    return {"name": peer.name, "brief": peer.short_name, "kind": peer.kind,
            "time": statistics.median(times[peer.benchmark]), "ratio": faster, "error": error,
            "at_least": peer.at_least, "at_most": peer.at_most, "met": is_met(faster, peer)}


def results_of(rows, times, facts):
    return facts | {"rows": [
        {"label": row.label, "group": row.group, "work": row.work, "brief": row.short_work, "is_key": row.is_key,
         "ours": statistics.median(times[row.ours]), "against": [comparison(row, peer, times) for peer in row.against]}
        for row in rows]}


def write(results, path):
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def read(path):
    """Raises ValueError if the file does not contain results."""
    try:
        results = json.loads(path.read_text())
    except ValueError as reason:
        raise ValueError(f"{path} is not JSON: {reason}") from reason
    if not isinstance(results, dict) or not isinstance(results.get("rows"), list) or "date" not in results:
        raise ValueError(f"{path} contains no results of scripts/bench")
    return results


def nanoseconds(value):
    if value >= 10_000_000:
        return f"{value / 1_000_000:.1f} ms"
    return f"{value:.2f} ns" if value < 100 else f"{value:.0f} ns" if value < 10_000 else f"{value / 1000:.1f} us"


def format_ratio(peer):
    if peer["at_most"] is not None:
        return f"{1 / peer['ratio']:.2f}x its time"
    if peer["error"] is not None:
        return f"{peer['ratio']:.3f}x as fast ± {peer['error']:.3f}"
    if peer["at_least"] is None and peer["ratio"] < 1:
        return f"{1 / peer['ratio']:.2f}x its time"
    return f"{peer['ratio']:.2f}x as fast"


def format_target(peer):
    if peer["met"] is None:
        return ""
    return f"<= {peer['at_most']:g}x" if peer["at_most"] is not None else f">= {peer['at_least']:g}x"


def format_verdict(peer):
    return {None: "", True: "met", False: "MISSED"}[peer["met"]]


def table_of(results):
    """All rows with all their peers and limits, as lines of cells."""
    lines = [("#", "work", "ours", "against", "peer", "ratio", "target", "")]
    for row in results["rows"]:
        head = (row["label"], row["work"], nanoseconds(row["ours"]))
        for peer in row["against"]:
            lines.append((*head, peer["name"], nanoseconds(peer["time"]),
                          format_ratio(peer), format_target(peer), format_verdict(peer)))
            head = ("", "", "")
    return lines


def short_ratio(speed):
    return f"{speed:.0f}x" if speed >= 100 else f"{speed:.1f}x" if speed >= 10 else f"{speed:.2f}x"


def main_peer(row):
    """The peer that a row is about: the first with a target, or else the first."""
    peers = [peer for peer in row["against"] if peer["kind"] != "limit"]
    return next((peer for peer in peers if peer["met"] is not None), peers[0])


def key_table_of(results):
    """The key rows, each with one peer."""
    lines = [("work", "doorbell", "peer", "its time", "doorbell is")]
    for row in results["rows"]:
        if row["is_key"]:
            peer = main_peer(row)
            missed = f" (target {format_target(peer)}: missed)" if peer["met"] is False else ""
            lines.append((row["work"], nanoseconds(row["ours"]), peer["name"], nanoseconds(peer["time"]),
                          f"{short_ratio(peer['ratio'])} as fast{missed}"))
    return lines


def markdown(lines):
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])
