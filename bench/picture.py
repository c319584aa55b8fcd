# SPDX-License-Identifier: Apache-2.0
"""Draws results as one SVG. For each row it shows the speed of doorbell relative to its peer, on a logarithmic axis.

On the axis of a row, 1 is its main peer. Everything else in the row is placed by its own speed relative to that peer:
doorbell, other peers, the limit, and the lowest speed that meets all targets. A row that misses any target is drawn as
a miss.
"""
import math
from xml.sax.saxutils import escape

from results import main_peer, nanoseconds, format_ratio, format_target, short_ratio

WIDTH = 800
PLOT_LEFT, PLOT_RIGHT = 222, 512
RATIO_RIGHT, OURS_RIGHT, PEER_LEFT = 562, 630, 640
TOP, ROW, GROUP = 76, 19, 31
SLOWEST = 0.5  # the ratio at the left end of the axis; a triangle there stands for a slower result

LIGHT = {"paper": "#ffffff", "text": "#1f2328", "muted": "#59636e", "line": "#d1d9e0",
         "met": "#0969da", "missed": "#bc4c00"}
DARK = {"paper": "#0d1117", "text": "#f0f6fc", "muted": "#9198a1", "line": "#3d444d",
        "met": "#4493f8", "missed": "#f0883e"}


def coloured(colours):
    """The style rules of one colour scheme, without CSS variables, which few viewers except browsers support."""
    fills = {"text, .target": "text", ".small, .limit, .slower": "muted", ".paper, .peer": "paper",
             ".bar.met, .dot.met, .ratio.met": "met", ".bar.missed, .dot.missed, .ratio.missed": "missed"}
    strokes = {".target": "text", ".line": "line", ".one, .peer": "muted"}
    return "".join(f"{names} {{ {what}: {colours[colour]} }}\n"
                   for what, rules in (("fill", fills), ("stroke", strokes)) for names, colour in rules.items())


STYLE = f"""
text {{ font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", Helvetica, Arial, sans-serif }}
.title {{ font-weight: 600; font-size: 13px }}
.small {{ font-size: 11px }}
.ratio {{ font-weight: 600 }}
.end {{ text-anchor: end }}
.middle {{ text-anchor: middle }}
.bar {{ opacity: 0.45 }}
.target {{ stroke-width: 2 }}
.peer {{ stroke-width: 1.5 }}
{coloured(LIGHT)}@media (prefers-color-scheme: dark) {{
{coloured(DARK)}}}
"""


def speeds(row):
    """Speeds relative to the main peer: of doorbell, other peers and limits, and the lowest that meets the targets."""
    main = main_peer(row)
    ours = main["ratio"]

    def relative(other):
        return ours / other["ratio"]

    demands = [relative(peer) * (peer["at_least"] if peer["at_most"] is None else 1 / peer["at_most"])
               for peer in row["against"] if peer["met"] is not None]
    return {"ours": ours,
            "peers": [relative(peer) for peer in row["against"] if peer["kind"] == "peer" and peer is not main],
            "limits": [relative(peer) for peer in row["against"] if peer["kind"] == "limit"],
            "target": max(demands, default=None)}


def is_missed(row):
    return any(peer["met"] is False for peer in row["against"])


class Axis:
    """Logarithmic, from SLOWEST to the first power of ten, or half of one, that no result exceeds."""

    def __init__(self, rows):
        fastest = max(value for row in rows for value in values_of(speeds(row)))
        power = 10 ** math.ceil(math.log10(fastest * 1.05))
        self.end = max(10, power / 2 if fastest * 1.05 <= power / 2 else power)

    def place(self, speed):
        share = math.log(speed / SLOWEST) / math.log(self.end / SLOWEST)
        return PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * min(max(share, 0), 1)

    def ticks(self):
        return [tick for tick in (factor * 10 ** power for power in range(-1, 8) for factor in (1, 2, 5))
                if SLOWEST <= tick <= self.end]


def values_of(row_speeds):
    return [row_speeds["ours"], *row_speeds["peers"], *row_speeds["limits"], row_speeds["target"] or 1]


def text(x, y, content, kind=""):
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{style}>{escape(content)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:g}" x2="{x2:.1f}" y2="{y2:g}" class="{kind}"/>'


def dot(x, y, kind):
    if kind == "missed":  # distinguishable without colours
        return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:g}" width="9" height="9" class="dot missed"/>'
    return f'<circle cx="{x:.1f}" cy="{y:g}" r="4.5" class="dot {kind}"/>'


def target(x, y):
    return line(x, y - 7, x, y + 7, "target")


def diamond(x, y):
    return f'<path d="M{x:.1f} {y - 5:g}l4.5 5l-4.5 5l-4.5 -5z" class="limit"/>'


def other_peer(x, y):
    if x <= PLOT_LEFT:
        return f'<path d="M{PLOT_LEFT - 3} {y:g}l7 -4v8z" class="slower"/>'
    return f'<circle cx="{x:.1f}" cy="{y:g}" r="3" class="peer"/>'


def bar(axis, speed, y, kind):
    left, right = sorted((axis.place(1), axis.place(speed)))
    return f'<rect x="{left:.1f}" y="{y - 4:g}" width="{right - left:.1f}" height="8" class="bar {kind}"/>'


def sentence(row):
    """The whole row in words, for tooltips and screen readers."""
    against = "; ".join(
        f"{peer['name']} {nanoseconds(peer['time'])}, doorbell {format_ratio(peer)}"
        + ("" if peer["met"] is None else f" (target {format_target(peer)}: {'met' if peer['met'] else 'missed'})")
        for peer in row["against"])
    return f"{row['label']}. {row['work']}: {nanoseconds(row['ours'])}; {against}"


def draw_row(axis, row, y):
    main, placed = main_peer(row), speeds(row)
    kind = "missed" if is_missed(row) else "met"
    parts = [f"<g><title>{escape(sentence(row))}</title>", text(16, y + 4, row["brief"])]
    parts.append(bar(axis, placed["ours"], y, kind))
    parts += [diamond(axis.place(limit), y) for limit in placed["limits"]]
    parts += [other_peer(axis.place(peer), y) for peer in placed["peers"]]
    parts += [dot(axis.place(placed["ours"]), y, kind)]
    if placed["target"]:
        parts.append(target(axis.place(placed["target"]), y))
    parts += [text(RATIO_RIGHT, y + 4, short_ratio(placed["ours"]), f"ratio {kind} end"),
              text(OURS_RIGHT, y + 4, nanoseconds(row["ours"]), "end"),
              text(PEER_LEFT, y + 4, f"{nanoseconds(main['time'])} {main['brief']}", "small"), "</g>"]
    return "".join(parts)


def groups_of(rows):
    groups = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return groups


def draw_legend():
    y = 44
    entries = (("doorbell, targets met", 142, lambda x: dot(x, y, "met")),
               ("doorbell, a target missed", 164, lambda x: dot(x, y, "missed")),
               ("target", 64, lambda x: target(x, y)),
               ("limit of the hardware or a bare call", 220, lambda x: diamond(x, y)),
               ("another peer", 0, lambda x: other_peer(x, y)))
    parts, x = [], 22
    for words, width, mark in entries:
        parts += [mark(x), text(x + 9, y + 4, words, "small")]
        x += width
    return parts


def draw_grid(axis, top, bottom):
    return [line(axis.place(tick), top, axis.place(tick), bottom, "one" if tick == 1 else "line")
            for tick in axis.ticks()]


def draw_scale(axis, y):
    return [text(axis.place(tick), y, f"{tick:g}x", "small middle") for tick in axis.ticks()
            if tick == SLOWEST or math.log10(tick).is_integer()]


def caption(results):
    return (f"Measured on {results['date']}: {results['processor']}, Linux {results['linux']}. "
            "Medians of interleaved repetitions.",
            "Logarithmic scale: 1x is the speed of the peer named at the right. "
            "A target is the lowest speed that meets all targets of its row.")


def draw(results):
    """The SVG of these results; the same results give the same text."""
    rows = results["rows"]
    axis = Axis(rows)
    body, y = [], TOP
    for title, members in groups_of(rows).items():
        body.append(text(16, y + 20, title, "title"))
        y += GROUP
        body += draw_grid(axis, y, y + ROW * len(members))
        for row in members:
            body.append(draw_row(axis, row, y + ROW / 2))
            y += ROW
    bottom = y + 6
    height = bottom + 64
    heads = [text(16, 22, "Speed of doorbell, relative to its peer in each row", "title"), *draw_legend(),
             text(OURS_RIGHT, TOP - 8, "doorbell", "small end"), text(PEER_LEFT, TOP - 8, "its peer", "small")]
    feet = [text(16, bottom + 32 + 16 * place, words, "small") for place, words in enumerate(caption(results))]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH} {height:g}" role="img">',
        f"<style>{STYLE}</style>", f'<rect width="{WIDTH}" height="{height:g}" class="paper"/>',
        *heads, *draw_scale(axis, TOP - 8), *body, *draw_scale(axis, bottom + 8), *feet, "</svg>"]) + "\n"
