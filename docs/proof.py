#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps docs/proof.md up to date with the scenarios of the model checker and with the mutants.

Writes the items "Explored" and "Mutants" of each property in docs/proof.md, and the parts between "written by
docs/proof.py" and "end": the totals, the mutants of each source file, and the list of all scenarios. Without --write it
does not change the document, and the exit status is 1 if the document would be different.

The numbers of schedules are in tests/model/schedules.txt. With --count the model checker explores scenarios (all of
them in some minutes), and the script writes that file and the document. Without --count the script only compares the
names and the bounds in that file with the scenarios, which is fast.

The exit status is also 1 if a scenario belongs to no property, or a property has no scenario. A scenario belongs to the
first property that names it.
"""
import argparse
import dataclasses
import difflib
import fnmatch
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sanitizers"))
from mutation.mutant import read_mutants  # noqa: E402

DOCUMENT = ROOT / "docs" / "proof.md"
COUNTS = ROOT / "tests" / "model" / "schedules.txt"
PROGRAM = ROOT / "build" / "model" / "tests" / "model" / "model"
WIDTH = 120
LITMUS_BOUND, LITMUS_WEAK = 9, 4  # as in tests/model/scenario.hpp

COUNTS_HEAD = """\
# Written by docs/proof.py --count. Columns: scenario; bound on preemptions, or "all" if the bound excluded no schedule;
# bound on atomic operations that use an older store; number of schedules.
"""


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    file: str
    bound: int
    weak: int
    oracle: str
    is_litmus: bool = False

    @property
    def group(self):
        """The name without the suffix of a variant that reads older values."""
        return self.name.removesuffix("_weak")


def read_scenarios():
    declared = re.compile(r'^(SCENARIO|WEAK_SCENARIO|LITMUS)\((\w+),(.*?)"\)\s*\{|^(AND_WEAK)\((\w+), (\d+), (\d+)\)',
                          re.MULTILINE | re.DOTALL)
    found = []
    for path in sorted((ROOT / "tests" / "model").glob("*.cpp")):
        for kind, name, rest, and_weak, of, bound, weak in declared.findall(path.read_text()):
            if and_weak:
                found.append(Scenario(f"{of}_weak", path.name, int(bound), int(weak), ""))
                continue
            texts = re.findall(r'"([^"]*)', rest)[::2] if '"' in rest else []
            numbers = [int(each) for each in re.findall(r"\d+", rest.partition('"')[0])]
            if kind == "LITMUS":
                found.append(Scenario(name, path.name, LITMUS_BOUND, LITMUS_WEAK, "".join(texts[1:]), True))
            else:
                found.append(Scenario(name, path.name, numbers[0], numbers[1] if kind == "WEAK_SCENARIO" else 0,
                                      "".join(texts)))
    return found


# The file with the numbers of schedules.

def read_rows():
    lines = COUNTS.read_text().splitlines() if COUNTS.exists() else []
    return {name: (bound, int(weak), int(schedules))
            for name, bound, weak, schedules in (line.split() for line in lines if not line.startswith("#"))}


def fits(scenario, row):
    return row is not None and row[0] in ("all", str(scenario.bound)) and row[1] == scenario.weak


def explore(program, names):
    """@param names: of scenarios; an empty list means all. @return the rows of the file."""
    if not program.is_file():
        sys.exit(f"{program} does not exist: cmake --preset model && cmake --build --preset model")
    line = re.compile(r"(\w+) +bound (\d+) exhausted( \(and any higher\))?, weak (\d+), (\d+) schedules")
    rows = {}
    with subprocess.Popen([program, *names], stdout=subprocess.PIPE, text=True) as running:
        for printed in running.stdout:
            print(printed, end="", flush=True)
            if found := line.match(printed):
                name, bound, every, weak, schedules = found.groups()
                rows[name] = ("all" if every else bound, int(weak), int(schedules))
    if running.returncode != 0:
        sys.exit(f"{program} failed")
    return rows


def count(program, scenarios, only_missing):
    """Explores scenarios, and writes the file."""
    rows = read_rows() if only_missing else {}
    kept = {each.name: rows[each.name] for each in scenarios if fits(each, rows.get(each.name))}
    missing = [each.name for each in scenarios if each.name not in kept]
    if missing:
        kept |= explore(program, missing if kept else [])
    lines = (" ".join(map(str, (name, *row))) + "\n" for name, row in sorted(kept.items()))
    COUNTS.write_text(COUNTS_HEAD + "".join(lines))


def read_counts(scenarios):
    """@return the schedules of each scenario. Exits if the file does not match the scenarios."""
    rows = read_rows()
    wrong = [f"{name} is not a scenario" for name in sorted(rows.keys() - {each.name for each in scenarios})]
    wrong += [f"{each.name} is missing" if each.name not in rows else f"{each.name} has other bounds now"
              for each in scenarios if not fits(each, rows.get(each.name))]
    if wrong:
        sys.exit("".join(f"tests/model/schedules.txt: {each}\n" for each in wrong) +
                 "run docs/proof.py --count missing after a build of the preset model")
    return {name: schedules for name, (_, _, schedules) in rows.items()}


# The parts of the document.

def scenarios_that_catch(mutant):
    return [each.name for each in mutant.catchers if each.preset == "model"]


def wrapped(text, first="", rest=""):
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False,
                         break_on_hyphens=False)


def numbers(values):
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


class Tree:
    def __init__(self):
        self.scenarios = read_scenarios()
        self.schedules = read_counts(self.scenarios)
        self.mutants = read_mutants([], ci=False)

    def summary(self, scenarios):
        """@return the bounds and numbers of schedules, without and with older values."""
        said = []
        exact = [each for each in scenarios if not each.weak]
        weak = [each for each in scenarios if each.weak]
        if exact:
            said.append(f"{self._counted(exact)}, bound {numbers({each.bound for each in exact})}, "
                        f"{self.sum(exact)} schedules")
        if weak:
            bound = "no bound" if all(each.is_litmus for each in weak) else (
                f"bound {numbers({each.bound for each in weak})}")
            said.append(f"{self._counted(weak)} with up to {max(each.weak for each in weak)} older values, {bound}, "
                        f"{self.sum(weak)} schedules")
        return "; ".join(said)

    @staticmethod
    def _counted(scenarios):
        return f"{len(scenarios)} scenario{'s' if len(scenarios) > 1 else ''}"

    def sum(self, scenarios):
        return sum(self.schedules[each.name] for each in scenarios)

    def caught_by(self, scenarios):
        names = {each.name for each in scenarios}
        return [each.short_name for each in self.mutants if names & set(scenarios_that_catch(each))]

    # Generated parts, by name.

    def totals(self):
        exact = [each for each in self.scenarios if not each.weak]
        weak = [each for each in self.scenarios if each.weak and not each.is_litmus]
        litmus = [each for each in self.scenarios if each.is_litmus]
        by_model = [each for each in self.mutants if scenarios_that_catch(each)]
        by_weak = [each for each in by_model if self._is_weak_only(each)]
        yield "| | number | schedules |\n|---|---|---|\n"
        yield f"| scenarios, sequentially consistent | {len(exact)} | {self.sum(exact)} |\n"
        yield f"| scenarios that read older values | {len(weak)} | {self.sum(weak)} |\n"
        yield f"| litmus tests of the model checker itself | {len(litmus)} | {self.sum(litmus)} |\n"
        yield f"| mutants | {len(self.mutants)} | |\n"
        yield f"| of these, caught by a scenario | {len(by_model)} | |\n"
        yield f"| only by scenarios that read older values | {len(by_weak)} | |\n"
        yield f"| by tests only | {len(self.mutants) - len(by_model)} | |\n"

    def _is_weak_only(self, mutant):
        weak = {each.name for each in self.scenarios if each.weak}
        return all(name in weak for name in scenarios_that_catch(mutant))

    def files(self):
        by_file = {}
        for mutant in self.mutants:
            for file in sorted(set(re.findall(r"^diff --git a/(\S+)", mutant.patch.read_text(), re.MULTILINE))):
                by_file.setdefault(file, []).append(mutant)
        for file, mutants in sorted(by_file.items()):
            by_model = [each.short_name for each in mutants if scenarios_that_catch(each)]
            by_tests = [each.short_name for each in mutants if not scenarios_that_catch(each)]
            said = [f"{', '.join(names)} by {catchers}"
                    for names, catchers in ((by_model, "scenarios"), (by_tests, "tests")) if names]
            yield wrapped(f"`{file}`: {'; '.join(said)}", "- ", "  ") + "\n"

    def weak_only(self):
        yield "| mutant | caught by |\n|---|---|\n"
        for mutant in self.mutants:
            names = scenarios_that_catch(mutant)
            if names and self._is_weak_only(mutant):
                yield f"| {mutant.short_name} | {', '.join(f'`{each}`' for each in names)} |\n"

    def all_scenarios(self):
        for file in sorted({each.file for each in self.scenarios}):
            yield f"\n### {file}\n\n"
            here = [each for each in self.scenarios if each.file == file]
            for first in (each for each in here if each.oracle):
                both = [first, *(each for each in here if each.group == first.name and each is not first)]
                explored = "; ".join(self._explored(each) for each in both)
                mutants = self.caught_by(both)
                caught = f" Mutants: {', '.join(mutants)}." if mutants else ""
                said = f"`{first.name}`: {first.oracle}. {explored[0].upper()}{explored[1:]}.{caught}"
                yield wrapped(said, "- ", "  ") + "\n"

    def _explored(self, scenario):
        bound = "no bound" if scenario.is_litmus else f"bound {scenario.bound}"
        older = f", {scenario.weak} older value{'s' if scenario.weak > 1 else ''}" if scenario.weak else ""
        return f"{bound}{older}: {self.schedules[scenario.name]}"


def with_properties(text, tree):
    """A property is an entry "- **title**" with the items Scenarios, Explored and Mutants."""
    left = list(tree.scenarios)

    def filled(entry):
        title = re.match(r"- \*\*(.+?)\*\*", entry.group()).group(1)
        item = re.search(r"^  - Scenarios: (.*(?:\n    .*)*)", entry.group(), re.MULTILINE)
        if item is None:
            return entry.group()
        patterns = re.findall(r"`([^`]+)`", item.group(1))
        mine = [each for each in left if any(fnmatch.fnmatch(each.group, pattern) for pattern in patterns)]
        for pattern in patterns:
            if not any(fnmatch.fnmatch(each.group, pattern) for each in mine):
                sys.exit(f"docs/proof.md, {title}: no remaining scenario matches {pattern}")
        for each in mine:
            left.remove(each)
        kept = re.sub(r"^  - (?:Explored|Mutants):.*(?:\n    .*)*\n?", "", entry.group(), flags=re.MULTILINE)
        lines = [kept.rstrip("\n"), wrapped(f"Explored: {tree.summary(mine)}", "  - ", "    "),
                 wrapped(f"Mutants: {', '.join(tree.caught_by(mine)) or 'none'}", "  - ", "    ")]
        return "\n".join(lines)

    text = re.sub(r"^- \*\*.*(?:\n  .*)*", filled, text, flags=re.MULTILINE)
    if left:
        sys.exit(f"docs/proof.md: no property names the scenarios {', '.join(each.name for each in left)}")
    return text


def with_parts(text, tree):
    parts = {"totals": tree.totals, "files": tree.files, "weak only": tree.weak_only, "scenarios": tree.all_scenarios}
    for name, rows in parts.items():
        marked = re.compile(rf"(<!-- {name}, written by docs/proof.py -->\n).*?(<!-- end -->\n)", re.DOTALL)
        text, found = marked.subn(lambda part, rows=rows: f"{part[1]}\n{''.join(rows()).strip()}\n\n{part[2]}", text)
        if found != 1:
            sys.exit(f"docs/proof.md: there must be one part <!-- {name}, written by docs/proof.py --> with an end")
    return text


def main():
    about, _, details = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="docs/proof.py", description=about, epilog=details,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the document")
    parser.add_argument("--count", choices=("all", "missing"),
                        help="make the model checker explore all scenarios, or those that are new or have new bounds; "
                             "write the numbers and the document")
    parser.add_argument("--program", type=Path, default=PROGRAM,
                        help="the model checker (default: the build of the preset model)")
    arguments = parser.parse_args()
    if arguments.count:
        count(arguments.program, read_scenarios(), arguments.count == "missing")
    tree = Tree()
    before = DOCUMENT.read_text()
    after = with_parts(with_properties(before, tree), tree)
    if arguments.write or arguments.count:
        DOCUMENT.write_text(after)
    elif after != before:
        sys.stdout.writelines(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True),
                                                   "docs/proof.md", "as the tree says"))
        sys.exit("docs/proof.md is out of date: run docs/proof.py --write")


if __name__ == "__main__":
    main()
