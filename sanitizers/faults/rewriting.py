# SPDX-License-Identifier: Apache-2.0
"""Puts the faults of a file into its text, and finds the fault that a position of the new text belongs to."""
import dataclasses

from .fault import Fault


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of the new text that fault `number` has put there."""

    start: int
    end: int
    number: int


@dataclasses.dataclass(frozen=True)
class Rewritten:
    text: bytes
    pieces: tuple  # of Piece
    ranges: tuple  # of Piece: each fault with the text that it encloses

    def faults_at(self, line, column):
        """@return the number of the fault to which the compiler's error at that place belongs, as a set: the fault
        whose inserted text contains the place, or else the innermost fault that encloses it. Empty if the place is in
        no fault."""
        offset = self._offset(line, column)
        inside = [piece for piece in self.pieces if piece.start <= offset < piece.end]
        if inside:
            return {min(inside, key=lambda piece: piece.end - piece.start).number}
        around = [each for each in self.ranges if each.start <= offset <= each.end]
        return {min(around, key=lambda each: each.end - each.start).number} if around else set()

    def faults_on(self, line):
        """The numbers of all faults on the line."""
        start = self._offset(line, 1)
        end = self.text.find(b"\n", start)
        end = len(self.text) if end < 0 else end
        return {each.number for each in self.ranges if each.start < end and start < each.end}

    def _offset(self, line, column):
        offset = 0
        for _ in range(line - 1):
            offset = self.text.find(b"\n", offset) + 1
            if offset == 0:
                return len(self.text)
        return offset + column - 1


def rewrite(text, faults, header):
    """@param faults: pairs of a number and a Fault of this file. @param header: the path of switch.h. The
    compiler reports the line numbers of the original text, because of #line; in the new text, each line is HEADER_LINES
    further down."""
    # From the outermost range to the innermost: by start, and of those that start together the longer one first.
    ordered = sorted(faults, key=lambda each: (each[1].start, -each[1].end, each[0]))
    new = bytearray(f'#include "{header}"\n#line 1\n'.encode())
    pieces, ranges, open_ones = [], [], []
    position = 0

    def put(fault_text, number):
        start = len(new)
        new.extend(fault_text.replace(Fault.NUMBER, str(number)).encode())
        pieces.append(Piece(start, len(new), number))

    def copy(to):
        nonlocal position
        new.extend(text[position:to])
        position = to

    def close(offset):
        while open_ones and open_ones[-1][1].end <= offset:
            number, fault, start = open_ones.pop()
            copy(fault.end)
            put(fault.after, number)
            ranges.append(Piece(start, len(new), number))

    for number, fault in ordered:
        close(fault.start)
        if open_ones and fault.end > open_ones[-1][1].end:
            raise ValueError(f"{fault} overlaps {open_ones[-1][1]}")
        copy(fault.start)
        open_ones.append((number, fault, len(new)))
        put(fault.before, number)
    close(len(text))
    copy(len(text))
    return Rewritten(bytes(new), tuple(pieces), tuple(ranges))


HEADER_LINES = 2
