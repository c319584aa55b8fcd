# SPDX-License-Identifier: Apache-2.0
"""The faults of one file, as they are found."""
from .fault import Fault, on_one_line
from .source import Source

NUMBER = Fault.NUMBER
IS_ACTIVE = f"doorbell_fault({NUMBER})"


class Collector(Source):
    """Each method adds a fault of a place, if its kind is wanted and the place is not in a macro."""

    def __init__(self, unit, name, path, kinds):
        """@param path: from the top of the tree."""
        super().__init__(unit, name)
        self.path = path
        self.kinds = kinds
        self.faults = set()

    def add(self, kind, start, end, before, after, mutated):
        """@param before, after: what is put around the range of the text. @param mutated: as the report shows it."""
        if kind not in self.kinds or not self.is_plain(start, end):
            return
        line = self.text.count(b"\n", 0, start) + 1
        column = start - (self.text.rfind(b"\n", 0, start) + 1) + 1
        self.faults.add(Fault(self.path, line, column, start, end, kind, before, after,
                              on_one_line(self.text_between(start, end)), on_one_line(mutated)))

    def replace(self, kind, cursor, replacement, mutated=None):
        """The expression is exchanged for another one."""
        self.add(kind, cursor.extent.start.offset, cursor.extent.end.offset, f"({IS_ACTIVE} ? {replacement} : ", ")",
                  mutated or replacement)

    def negate(self, cursor):
        text = self.text_of(cursor)
        self.add("negated", cursor.extent.start.offset, cursor.extent.end.offset, f"({IS_ACTIVE} != !!(", "))",
                  f"!({text})")

    def drop(self, cursor, value, mutated):
        """The condition has the value without being evaluated."""
        before = f"({IS_ACTIVE} || (" if value == "true" else f"(!{IS_ACTIVE} && ("
        self.add("dropped", cursor.extent.start.offset, cursor.extent.end.offset, before, "))", mutated)
