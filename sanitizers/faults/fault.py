# SPDX-License-Identifier: Apache-2.0
"""A fault: a range of a source file, and the text that is put around it."""
import dataclasses

KINDS = {
    "negated": "a condition or a comparison is negated",
    "dropped": "the statement after an if is never executed, or an operand of && or || is left out",
    "comparison": "<, <=, > or >= is replaced by the neighbouring comparison",
    "constant": "a number is increased by one, or a bool is inverted",
    "errno": "an error number is replaced by another one",
    "call": "a statement that is a call is left out",
    "assignment": "a statement that assigns, increments or decrements is left out",
    "flag": "an operand of | is left out",
    "returned": "a function returns 0, false, null or an empty object without computing its result",
    "scope": "a variable that locks, or restores something at the end of its scope, is left out",
    "order": "a memory order is relaxed",
}


class Trouble(Exception):
    """The reason why the tool cannot continue, as a message for its user."""


@dataclasses.dataclass(frozen=True, order=True)
class Fault:
    """One fault. `start` and `end` are byte offsets; `before` and `after` contain NUMBER where its number belongs."""

    path: str  # from the top of the tree
    line: int
    column: int
    start: int
    end: int
    kind: str
    before: str
    after: str
    original: str
    mutated: str

    NUMBER = "\x00"

    @property
    def place(self):
        return f"{self.path}:{self.line}:{self.column}"

    def __str__(self):
        return f"{self.place} {self.kind}: {self.original}  ->  {self.mutated}"


def on_one_line(text, limit=100):
    """The text as the report shows it."""
    words = " ".join(text.split())
    return words if len(words) <= limit else words[: limit - 3] + "..."
