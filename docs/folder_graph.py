# SPDX-License-Identifier: Apache-2.0
"""The folders of a layer, and which of them include headers of which: checked for cycles, and drawn."""
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

SUFFIXES = (".hpp", ".cpp", ".c")


class FolderGraph:
    """Which folders of a layer include headers of which.

    `includes` maps each folder, by its path relative to the layer, to the folders whose headers its files include. Each
    public header counts as a folder of its own, because users find all public headers in one place.
    """

    def __init__(self, layer):
        self.layer = layer
        self.files, self.includes, self._because = {}, {}, {}
        for path in sorted(layer.rglob("*")):
            if path.suffix in SUFFIXES:
                self.files.setdefault(self._folder_of(path), []).append(path)
        for folder, files in self.files.items():
            self.includes[folder] = set()
            for path in files:
                self._read(folder, path)

    def _folder_of(self, path):
        name = path.relative_to(self.layer)
        is_public = name.parts[0] == "include" and "detail" not in name.parts
        return (name if is_public else name.parent).as_posix()

    def _read(self, folder, path):
        for line, header in re.findall(r'^(#include ["<]([^">]+)[">])', path.read_text(), re.MULTILINE):
            target = (path.parent / header).resolve() if '"' in line else self.layer / "include" / header
            if not target.is_relative_to(self.layer) or not target.exists():
                continue
            other = self._folder_of(target)
            if other != folder:
                self.includes[folder].add(other)
                self._because.setdefault((folder, other), f"{path.name} has {line}")

    def check(self):
        """Exits with a message if folders include each other in a cycle."""
        done = set()

        def visit(folder, way):
            if folder in way:
                cycle = [*way[way.index(folder):], folder]
                steps = "; ".join(self._because[step] for step in zip(cycle, cycle[1:]))
                sys.exit(f"{self.layer.name}: {', '.join(cycle)} include each other: {steps}")
            if folder not in done:
                for other in sorted(self.includes[folder]):
                    visit(other, [*way, folder])
                done.add(folder)

        for folder in sorted(self.files):
            visit(folder, [])

    def without(self, prefix):
        """@return the same graph without the folders whose names begin so."""
        rest = FolderGraph.__new__(FolderGraph)
        rest.layer = self.layer
        rest.files = {name: files for name, files in self.files.items() if not name.startswith(prefix)}
        rest.includes = {name: {other for other in self.includes[name] if other in rest.files} for name in rest.files}
        return rest

    def below(self, folder):
        """All folders that it includes, directly or not."""
        found = set(self.includes[folder])
        for other in self.includes[folder]:
            found |= self.below(other)
        return found

    def arrows(self):
        """Leaves out an arrow if another path of arrows leads to its target."""
        for folder, others in sorted(self.includes.items()):
            implied = set().union(*(self.below(other) for other in others))
            yield from ((folder, other) for other in sorted(others - implied))

    def rows(self):
        """From the top: the folders of each row. A folder stands above all that it includes."""
        height = {}

        def height_of(folder):
            if folder not in height:
                height[folder] = 1 + max((height_of(other) for other in self.includes[folder]), default=-1)
            return height[folder]

        for folder in self.files:
            height_of(folder)
        return [sorted(each for each in height if height[each] == level)
                for level in range(max(height.values()), -1, -1)]


BOX_WIDTH, BOX_HEIGHT, COLUMN, ROW, MARGIN = 180, 50, 210, 92, 20


def draw(graph, style, round_lines_to):
    rows = graph.rows()
    widest = max(map(len, rows))
    at = {}
    for row, folders in enumerate(rows):
        left = MARGIN + (widest - len(folders)) * COLUMN / 2
        for column, folder in enumerate(folders):
            at[folder] = (round(left + column * COLUMN), MARGIN + row * ROW)
    width = MARGIN * 2 + (widest - 1) * COLUMN + BOX_WIDTH
    height = MARGIN * 2 + (len(rows) - 1) * ROW + BOX_HEIGHT + 20
    name = graph.layer.name
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
           f'height="{height}" role="img">\n',
           f"<title>The folders of {name}/ and what they include</title>\n",
           "<!-- Drawn by docs/architecture.py. -->\n",
           f"<style>{style}</style>\n",
           '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
           '<path class="head" d="M0 0 L7 3 L0 6 Z"/></marker></defs>\n',
           f'<rect class="paper" width="{width}" height="{height}"/>\n']
    for above, below in graph.arrows():
        (x1, y1), (x2, y2) = at[above], at[below]
        out.append(f'<line class="arrow" marker-end="url(#head)" x1="{x1 + BOX_WIDTH // 2}" y1="{y1 + BOX_HEIGHT}" '
                   f'x2="{x2 + BOX_WIDTH // 2}" y2="{y2 - 3}"/>\n')
    for folder, (x, y) in sorted(at.items()):
        files = graph.files[folder]
        lines = round(sum(len(each.read_text().splitlines()) for each in files) / round_lines_to) * round_lines_to
        middle = x + BOX_WIDTH // 2
        out.append(f'<rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>\n'
                   f'<text class="name" x="{middle}" y="{y + 21}">{escape(folder)}</text>\n'
                   f'<text class="small" x="{middle}" y="{y + 39}">{len(files)} files, about {lines} lines</text>\n')
    out.append(f'<text class="small" x="{width // 2}" y="{height - 10}">'
               f"Arrow: includes headers of that folder, and of those below it.</text>\n")
    return "".join(out) + "</svg>\n"
