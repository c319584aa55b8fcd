#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps docs/architecture.md up to date with the tree.

Draws docs/layers.svg from the layers' CMakeLists.txt (USES) and from the #include lines of their sources, draws the
folders of aio/ in docs/aio.svg, and writes the items "Mutants" of the map in docs/architecture.md from the patches in
sanitizers/mutants. Without --write it does not change these files, and the exit status is 1 if one of them would be
different.

The exit status is also 1 if a layer includes a header of a layer that it may not include, or a private header of
another layer; if folders of a layer include each other in a cycle; if the table of folders in aio/README.md is not that
of the tree; if a source file of the layers or a scenario is in no entry of the map, or in more than one; or if the
document names a file or a scenario that does not exist.
"""
import argparse
import difflib
import fnmatch
import re
import sys
import textwrap
from pathlib import Path
from xml.sax.saxutils import escape

import folder_graph
from folder_graph import FolderGraph
from names_in_tree import SCENARIO, expanded

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "layers.svg"
FOLDERS_OF = {"aio": ROOT / "docs" / "aio.svg"}  # layers whose folders are drawn
MAP = "\n## 7."
WIDTH = 120
LAYERS = ("base", "eventfd", "notifier", "aio", "asio", "libaio")  # each may use only layers before it
# The drop-in is built from the static library of aio, whose private headers it may include.
PRIVATE_HEADERS_ALLOWED = {("libaio", "aio")}

SOURCE_SUFFIXES = (".hpp", ".cpp", ".c")
ROUND_LINES_TO = 100  # otherwise most commits would change the picture


def sources(layer):
    return sorted(each for each in (ROOT / layer).rglob("*") if each.suffix in SOURCE_SUFFIXES)


def name_in_tree(path):
    return path.relative_to(ROOT).as_posix()


class Layer:
    """A layer, as its CMakeLists.txt and its sources describe it."""

    def __init__(self, name):
        self.name = name
        self.files = sources(name)
        self.lines = sum(len(each.read_text().splitlines()) for each in self.files)
        self.uses = self._declared_uses()
        self.includes = set()  # layers whose public headers it includes
        self.private_includes = set()  # (layer, including file, header)
        for each in self.files:
            self._read_includes(each)

    def _declared_uses(self):
        text = re.sub(r"#.*", "", (ROOT / self.name / "CMakeLists.txt").read_text())
        call = re.search(rf"doorbell_add_layer\({self.name}\b(.*?)\)", text, re.DOTALL)
        if call is None:  # the drop-in, which links a layer
            linked = re.search(r"target_link_libraries\(doorbell_libaio (.*?)\)", text, re.DOTALL).group(1)
            return {layer for layer in LAYERS if f"doorbell_{layer}" in linked.split()}
        if not re.search(r"\bSOURCES\b", call.group(1)):  # header-only; includes the other layers
            return set(LAYERS[:LAYERS.index(self.name)])
        uses = re.search(r"\bUSES\s+([a-z\s]+)", call.group(1))
        return set(uses.group(1).split()) if uses else set()

    def _read_includes(self, path):
        for kind, header in re.findall(r'^#include ([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE):
            if kind == '"':
                target = (path.parent / header).resolve()
                layer = target.relative_to(ROOT).parts[0]
                if layer != self.name:
                    self.private_includes.add((layer, name_in_tree(path), header))
            elif header.startswith("doorbell/"):
                layer = next((each for each in LAYERS if (ROOT / each / "include" / header).is_file()), None)
                if layer is None:
                    sys.exit(f"{name_in_tree(path)}: no layer has <{header}>")
                if layer != self.name:
                    self.includes.add(layer)


def closure(layers, name):
    found = set()
    for used in layers[name].uses:
        found |= {used} | closure(layers, used)
    return found


def check_includes(layers):
    for layer in layers.values():
        for used in layer.uses:
            if LAYERS.index(used) >= LAYERS.index(layer.name):
                sys.exit(f"{layer.name}/CMakeLists.txt: {used} is not below {layer.name}")
        allowed = closure(layers, layer.name)
        for included in sorted(layer.includes - allowed):
            sys.exit(f"{layer.name} includes headers of {included}, which it does not use")
        for included, file, header in sorted(layer.private_includes):
            if (layer.name, included) not in PRIVATE_HEADERS_ALLOWED or included not in allowed:
                sys.exit(f'{file}: "{header}" is a private header of {included}')


# The picture.

BOX_WIDTH, BOX_HEIGHT = 220, 74
COLUMN, ROW = 260, 124
MARGIN = 20
FONT = 'system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", Helvetica, Arial, sans-serif'
LIGHT = {"paper": "#ffffff", "text": "#1f2328", "muted": "#59636e", "box": "#f6f8fa"}
DARK = {"paper": "#0d1117", "text": "#f0f6fc", "muted": "#9198a1", "box": "#151b23"}


def coloured(colours):
    return (f"text {{ fill: {colours['text']} }}\n.small, .head {{ fill: {colours['muted']} }}\n"
            f".paper {{ fill: {colours['paper']} }}\n"
            f".box {{ fill: {colours['box']}; stroke: {colours['muted']} }}\n"
            f".arrow {{ stroke: {colours['muted']} }}\n")


STYLE = f"""
text {{ font: 12px {FONT}; text-anchor: middle }}
.name {{ font-weight: 600; font-size: 14px }}
.small {{ font-size: 11px }}
.arrow {{ stroke-width: 1.5; fill: none }}
.private {{ stroke-dasharray: 5 4 }}
{coloured(LIGHT)}@media (prefers-color-scheme: dark) {{
{coloured(DARK)}}}
"""


def arrows(layers):
    """@return the arrows to draw. An arrow is left out if its lower layer is reached through another arrow."""
    for layer in layers.values():
        implied = set().union(*(closure(layers, used) for used in layer.uses))
        for used in sorted(layer.uses - implied):
            yield layer.name, used


def ranks(layers):
    """@return the layers of each row, from the bottom row, from left to right."""
    height = {}
    for name in LAYERS:
        height[name] = 1 + max((height[used] for used in layers[name].uses), default=-1)
    rows = [[] for _ in range(max(height.values()) + 1)]
    for name in sorted(LAYERS):
        rows[height[name]].append(name)
    # A layer that uses one other layer is above it; a layer that uses several is further to the right.
    for row in rows:
        row.sort(key=lambda name: (len([1 for above, _ in arrows(layers) if above == name]), name))
    return rows


def places(layers):
    rows = ranks(layers)
    widest = max(map(len, rows))
    for at, row in enumerate(reversed(rows)):
        left = MARGIN + (widest - len(row)) * COLUMN / 2
        for column, name in enumerate(row):
            yield name, (round(left + column * COLUMN), MARGIN + at * ROW)


def arrow(start, end, kind, shift=0):
    x1, y1 = start[0] + BOX_WIDTH // 2 + shift, start[1] + BOX_HEIGHT
    x2, y2 = end[0] + BOX_WIDTH // 2 + shift, end[1] - 3
    return f'<line class="{kind}" marker-end="url(#head)" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>\n'


def draw(layers):
    at = dict(places(layers))
    width = max(x for x, _ in at.values()) + BOX_WIDTH + MARGIN
    height = max(y for _, y in at.values()) + BOX_HEIGHT + MARGIN + 32
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
           f'height="{height}" role="img">\n',
           "<title>The layers of doorbell and what they include</title>\n",
           "<!-- Drawn by docs/architecture.py. -->\n",
           f"<style>{STYLE}</style>\n",
           '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
           '<path class="head" d="M0 0 L7 3 L0 6 Z"/></marker></defs>\n',
           f'<rect class="paper" width="{width}" height="{height}"/>\n']
    for above, below in arrows(layers):
        out.append(arrow(at[above], at[below], "arrow"))
    for name, layer in layers.items():
        for below in sorted({each for each, _, _ in layer.private_includes}):
            out.append(arrow(at[name], at[below], "arrow private", 24))
    for name, layer in layers.items():
        x, y = at[name]
        middle = x + BOX_WIDTH // 2
        lines = round(layer.lines / ROUND_LINES_TO) * ROUND_LINES_TO
        included = layer.includes | {each for each, _, _ in layer.private_includes}
        says = "includes " + ", ".join(each for each in LAYERS if each in included) if included else "includes none"
        out.append(f'<rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>\n'
                   f'<text class="name" x="{middle}" y="{y + 23}">{escape(name)}</text>\n'
                   f'<text x="{middle}" y="{y + 43}">{len(layer.files)} files, about {lines} lines</text>\n'
                   f'<text class="small" x="{middle}" y="{y + 61}">{escape(says)}</text>\n')
    for up, line in ((26, "Arrow: may include the public headers of that layer and of those below it."),
                     (10, "Dashed arrow: includes private headers as well.")):
        out.append(f'<text class="small" x="{width // 2}" y="{height - up}">{line}</text>\n')
    return "".join(out) + "</svg>\n"


# The map.

def scenarios():
    for path in sorted((ROOT / "tests" / "model").glob("*.cpp")):
        yield from SCENARIO.findall(path.read_text())


def mutants_by_file():
    found = {}
    for patch in sorted((ROOT / "sanitizers" / "mutants").glob("*.patch")):
        for file in sorted(set(re.findall(r"^diff --git a/(\S+)", patch.read_text(), re.MULTILINE))):
            found.setdefault(file, []).append(patch.name.split("-")[0])
    return found


def matching(pattern, names):
    """`base/kref.*` and `aio/{ring,request}.*`, as a shell would."""
    return [name for each in expanded(pattern) for name in fnmatch.filter(names, each)]


class Map:
    """Assigns each file and each scenario to one entry."""

    def __init__(self, kind, names):
        self.kind, self.names, self.owner = kind, list(names), {}

    def claim(self, patterns, entry):
        claimed = []
        for pattern in patterns:
            found = matching(pattern, self.names)
            if not found:
                sys.exit(f"docs/architecture.md, {entry}: no {self.kind} matches {pattern}")
            for name in found:
                if self.owner.setdefault(name, entry) != entry:
                    sys.exit(f"docs/architecture.md: {self.kind} {name} is in {self.owner[name]} and in {entry}")
            claimed += found
        return claimed

    def check_complete(self):
        for name in self.names:
            if name not in self.owner:
                sys.exit(f"docs/architecture.md: {self.kind} {name} is in no entry of the map")


def with_mutants(text):
    """An entry of the map is "- **title**" with the items Files, Scenarios, Mutants and Tests, which may be wrapped."""
    head, marker, tail = text.partition(MAP)
    if not marker:
        sys.exit(f"docs/architecture.md: there is no section {MAP.strip()}")
    files = Map("file", (name_in_tree(each) for layer in LAYERS for each in sources(layer)))
    models = Map("scenario", scenarios())
    by_file = mutants_by_file()

    def filled(entry):
        title = re.match(r"- \*\*(.+?)\*\*", entry.group()).group(1)
        fields = {key: re.findall(r"`([^`]+)`", value)
                  for key, value in re.findall(r"^  - (\w+): (.*(?:\n    .*)*)", entry.group(), re.MULTILINE)}
        claimed = files.claim(fields.get("Files", []), title)
        models.claim(fields.get("Scenarios", []), title)
        mutants = sorted({mutant for file in claimed for mutant in by_file.get(file, [])})
        line = textwrap.fill("Mutants: " + (", ".join(mutants) or "none"), WIDTH, initial_indent="  - ",
                             subsequent_indent="    ")
        return re.sub(r"^  - Mutants:.*(?:\n    .*)*", line, entry.group(), flags=re.MULTILINE)

    tail = re.sub(r"^- \*\*.*(?:\n  .*)*", filled, tail, flags=re.MULTILINE)
    files.check_complete()
    models.check_complete()
    return head + marker + tail


def check_document(text):
    """Checks that each named file exists, and that no line is too long."""
    tops = {each.name for each in ROOT.iterdir()}
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH:
            sys.exit(f"docs/architecture.md:{number}: longer than {WIDTH} columns")
        for named in re.findall(r"`([\w.-]+/[\w./*{},-]+)`", line):
            if named.split("/")[0] in tops and not any(ROOT.glob(each) for each in expanded(named)):
                sys.exit(f"docs/architecture.md:{number}: there is no {named}")


def check_table_of_folders(graph):
    """Compares the rows of the layer's README.md, which begin with "| `folder/` |", with the folders."""
    readme = graph.layer / "README.md"
    rows = set(re.findall(r"^\| `([\w/]+)/` \|", readme.read_text(), re.MULTILINE))
    for folder in sorted(rows ^ set(graph.without("include").includes)):
        sys.exit(f"{name_in_tree(readme)}: {folder}/ is " + ("no folder" if folder in rows else "in no row"))


def main():
    about, _, details = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="docs/architecture.py", description=about, epilog=details,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the picture and the document")
    arguments = parser.parse_args()
    layers = {name: Layer(name) for name in LAYERS}
    check_includes(layers)
    graphs = {name: FolderGraph(ROOT / name) for name in LAYERS}
    for graph in graphs.values():
        graph.check()
    for name in FOLDERS_OF:
        check_table_of_folders(graphs[name])
    before = DOCUMENT.read_text()
    check_document(before)
    wrong = False
    pictures = [(file, folder_graph.draw(graphs[name].without("include"), STYLE, ROUND_LINES_TO))
                for name, file in FOLDERS_OF.items()]
    for file, wanted in ((PICTURE, draw(layers)), *pictures, (DOCUMENT, with_mutants(before))):
        there = file.read_text() if file.exists() else ""
        if there == wanted:
            continue
        if arguments.write:
            file.write_text(wanted)
            continue
        wrong = True
        sys.stdout.writelines(difflib.unified_diff(there.splitlines(keepends=True), wanted.splitlines(keepends=True),
                                                   name_in_tree(file), "as the tree says"))
    if wrong:
        sys.exit("docs/ is out of date: run docs/architecture.py --write")


if __name__ == "__main__":
    main()
