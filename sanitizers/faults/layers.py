# SPDX-License-Identifier: Apache-2.0
"""Selects the files in which faults are generated, and the lines whose faults no test could find."""
import re
import subprocess
from pathlib import Path

from .fault import KINDS, Trouble

LAYERS = ("base", "eventfd", "notifier", "aio", "asio", "libaio")
MARK = re.compile(r"// equivalent fault(?: \(([a-z, ]*)\))?(.*)")


def files_of_layer(root, layer):
    """The C++ files of a layer, from the top of the tree. Its C files are assembly and a few lines beside it."""
    return sorted(str(path.relative_to(root)) for pattern in ("*.cpp", "*.hpp")
                  for path in (root / layer).rglob(pattern))


def changed_files(root):
    """The files that differ from the branch main, those included that are not committed."""
    def git(*arguments):
        ended = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
        if ended.returncode != 0:
            raise Trouble(f"git {' '.join(arguments)}: {ended.stderr.strip()}")
        return ended.stdout.split()

    base = git("merge-base", "HEAD", "main")[0]
    return sorted(set(git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")))


def choose_files(root, names, only_changed):
    """@param names: of layers and files; none means all layers. @return paths from the top of the tree."""
    every_file = {path for layer in LAYERS for path in files_of_layer(root, layer)}
    chosen = set()
    for name in names or LAYERS:
        path = Path(name)
        relative = str(path.resolve().relative_to(root)) if path.resolve().is_relative_to(root) else name
        if name.rstrip("/") in LAYERS:
            chosen.update(files_of_layer(root, name.rstrip("/")))
        elif relative in every_file or name in every_file:
            chosen.add(relative if relative in every_file else name)
        else:
            raise Trouble(f"'{name}' is neither a layer ({', '.join(LAYERS)}) nor a C++ file of one")
    if only_changed:
        chosen &= set(changed_files(root))
    return sorted(chosen)


def marked_lines(text, path):
    """The lines that a comment marks, because no program could notice their faults. The comment is
    `// equivalent fault: reason`, or `// equivalent fault (constant, negated): reason` for some kinds only, at the end
    of the line or on a line of its own before it. @return the kinds by line number."""
    marked = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = MARK.search(line)
        if not found:
            continue
        kinds = {kind.strip() for kind in found[1].split(",")} if found[1] else set(KINDS)
        if not found[2].startswith(": ") or not found[2][2:].strip():
            raise Trouble(f"{path}:{number}: 'equivalent fault' is followed by ': ' and a reason")
        if not kinds <= set(KINDS):
            raise Trouble(f"{path}:{number}: no such kind: {', '.join(sorted(kinds - set(KINDS)))}")
        marked[number + 1 if line.lstrip().startswith("//") else number] = kinds
    return marked


def without_equivalent(faults, marked):
    """@return the faults that are not marked, and how many are."""
    kept = [fault for fault in faults if fault.kind not in marked.get(fault.line, ())]
    return kept, len(faults) - len(kept)
