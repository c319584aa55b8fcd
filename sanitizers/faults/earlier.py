# SPDX-License-Identifier: Apache-2.0
"""The results of an earlier run, from its report.json."""
import dataclasses
import difflib
import json
from pathlib import Path

from .fault import Fault, Trouble
from .hunting import Verdict


def _same_faults(old, new):
    """@return the places of equal faults in the two lists. In a changed file, the lines of faults may differ."""
    places = {(fault.line, *_without_line(fault)): place for place, fault in enumerate(new)}
    exact = [(place, places.get((fault.line, *_without_line(fault)))) for place, fault in enumerate(old)]
    if all(found is not None for _, found in exact):
        return exact
    before, now = ([_without_line(each) for each in some] for some in (old, new))
    matcher = difflib.SequenceMatcher(None, before, now, autojunk=False)
    return [(block.a + step, block.b + step) for block in matcher.get_matching_blocks() for step in range(block.size)]


def _without_line(fault):
    return fault.column, fault.kind, fault.original, fault.mutated


@dataclasses.dataclass(frozen=True)
class Earlier:
    paths: tuple  # of the files in which it generated faults
    kinds: frozenset
    not_compiled: int
    faults: dict  # by number, without their ranges
    verdicts: dict  # by number

    @classmethod
    def read(cls, path):
        try:
            results = json.loads(Path(path).read_text())
            faults = {each["number"]: Fault(each["file"], each["line"], each["column"], 0, 0, each["kind"], "", "",
                                            each["original"], each["mutated"]) for each in results["faults"]}
            verdicts = {each["number"]: Verdict(each["number"], each["outcome"], each["test"], each["how"],
                                                each["tests_run"], each["seconds"]) for each in results["faults"]}
            return cls(tuple(results["files"]), frozenset(results["kinds"]), results["not_compiled"], faults, verdicts)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Trouble(f"{path} is not a report.json of an earlier run: {error!r}") from None

    def choose(self, faults, kinds):
        """@param faults: by number, in their order, of all kinds. @param kinds: the kinds of this run.
        @return the numbers of the faults to hunt, which are those that survived the earlier run and those of kinds that
        the earlier run left out; the earlier verdicts by number; and the number of verdicts on faults that do not exist
        any more."""
        verdicts, gone = {}, 0
        for path in sorted({fault.path for fault in faults.values()}):
            old, new = ([number for number, fault in some.items() if fault.path == path]
                        for some in (self.faults, faults))
            same = _same_faults([self.faults[number] for number in old], [faults[number] for number in new])
            verdicts |= {new[there]: dataclasses.replace(self.verdicts[old[here]], number=new[there])
                         for here, there in same}
            gone += len(old) - len(same)
        hunted = {number for number, fault in faults.items() if fault.kind in kinds and (
            verdicts[number].outcome != "killed" if number in verdicts else fault.kind not in self.kinds)}
        return hunted, verdicts, gone
