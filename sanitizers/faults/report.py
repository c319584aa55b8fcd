# SPDX-License-Identifier: Apache-2.0
"""The results of a run, as a table for people and as JSON for programs."""
import collections
import json


class Tally:
    """Counts of one file, layer or kind."""

    def __init__(self):
        self.killed = 0
        self.total = 0

    def add(self, was_killed):
        self.killed += was_killed
        self.total += 1

    @property
    def percent(self):
        return 100.0 * self.killed / self.total if self.total else 100.0

    def __str__(self):
        return f"{self.killed:5} of {self.total:5}  {self.percent:5.1f} %"


class Report:
    """@param faults: by number. @param verdicts: by number."""

    def __init__(self, faults, verdicts, paths, kinds, equivalent, not_compiled, unusable):
        self.faults = faults
        self.verdicts = verdicts
        self.paths = paths  # in which faults were looked for
        self.kinds = kinds
        self.equivalent = equivalent  # how many faults are marked so in the source
        self.not_compiled = not_compiled
        self.unusable = unusable  # tests that fail without a fault

    def tally(self, key):
        """@param key: of a Fault. @return a Tally for each, in their order."""
        tallies = collections.defaultdict(Tally)
        for number in self.verdicts:
            tallies[key(self.faults[number])].add(self.verdicts[number].outcome == "killed")
        return dict(sorted(tallies.items()))

    @property
    def total(self):
        tally = Tally()
        for verdict in self.verdicts.values():
            tally.add(verdict.outcome == "killed")
        return tally

    def survivors(self):
        return [number for number in sorted(self.verdicts) if self.verdicts[number].outcome != "killed"]

    def as_text(self):
        lines = []
        for title, key in (("file", lambda fault: fault.path), ("kind", lambda fault: fault.kind),
                           ("layer", lambda fault: fault.path.partition("/")[0])):
            tallies = (f"  {tally}  {name}" for name, tally in self.tally(key).items())
            lines += [f"killed of each {title}:", *tallies, ""]
        survivors = self.survivors()
        if survivors:
            lines.append("survivors:")
            lines += [f"  {number:5}  {self.verdicts[number].outcome:9}  {self.faults[number]}" for number in survivors]
            lines.append("")
        for name in self.unusable:
            lines.append(f"not used, because it does not pass without a fault: {name}")
        lines.append(f"{self.equivalent} faults are marked as equivalent, {self.not_compiled} do not compile")
        return "\n".join(lines)

    def as_json(self):
        return json.dumps({
            "killed": self.total.killed, "total": self.total.total, "equivalent": self.equivalent,
            "not_compiled": self.not_compiled, "unusable_tests": self.unusable,
            "files": list(self.paths), "kinds": list(self.kinds),
            "faults": [{"number": number, "file": fault.path, "line": fault.line, "column": fault.column,
                        "kind": fault.kind, "original": fault.original, "mutated": fault.mutated,
                        "outcome": verdict.outcome, "test": verdict.test, "how": verdict.how,
                        "tests_run": verdict.tests_run, "seconds": round(verdict.seconds, 3)}
                       for number, verdict in sorted(self.verdicts.items()) for fault in [self.faults[number]]],
        }, indent=1) + "\n"
