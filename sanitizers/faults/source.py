# SPDX-License-Identifier: Apache-2.0
"""The text, the tokens and the syntax tree of a C++ file."""
import bisect

from .parsing import clang


class Source:
    """One file of a translation unit that contains it."""

    def __init__(self, unit, name):
        """@param name: the file as the translation unit names it."""
        self.unit = unit
        self.name = name
        self.K = clang().CursorKind
        with open(name, "rb") as file:
            self.text = file.read()
        self._read_macros()
        self._read_tokens()

    def is_here(self, cursor):
        file = cursor.extent.start.file
        return file is not None and file.name == self.name

    def text_between(self, start, end):
        return self.text[start:end].decode(errors="replace")

    def text_of(self, cursor):
        return self.text_between(cursor.extent.start.offset, cursor.extent.end.offset)

    def _read_macros(self):
        """The ranges that macros with arguments cover, and the names of the others by their ranges."""
        self.with_arguments = []
        self.object_like = {}
        for cursor in self.unit.cursor.get_children():
            if cursor.kind != self.K.MACRO_INSTANTIATION or not self.is_here(cursor):
                continue
            start, end = cursor.extent.start.offset, cursor.extent.end.offset
            if end - start == len(cursor.spelling.encode()):
                self.object_like[(start, end)] = cursor.spelling
            else:
                self.with_arguments.append((start, end))

    def _read_tokens(self):
        """All tokens, by their offsets: those of a cursor are not to be had if it begins with a macro."""
        C = clang()
        file = C.File.from_name(self.unit, self.name)
        first, last = (C.SourceLocation.from_offset(self.unit, file, offset) for offset in (0, len(self.text)))
        tokens = list(self.unit.get_tokens(extent=C.SourceRange.from_locations(first, last)))
        self.token_offsets = [token.extent.start.offset for token in tokens]
        self.token_texts = [token.spelling for token in tokens]

    def tokens_between(self, start, end):
        """Pairs of the offset and the text of each token that begins in the range."""
        first, last = (bisect.bisect_left(self.token_offsets, offset) for offset in (start, end))
        return list(zip(self.token_offsets[first:last], self.token_texts[first:last]))

    def is_plain(self, start, end):
        """Whether the range is text that the file itself has, outside of the arguments of macros."""
        return 0 <= start < end and not any(start < last and first < end and not (start < first and last < end)
                                            for first, last in self.with_arguments)

    def bare(self, cursor):
        """@return the expression without nodes that the compiler has added around it, and without parentheses."""
        while cursor.kind in (self.K.UNEXPOSED_EXPR, self.K.PAREN_EXPR):
            children = [each for each in cursor.get_children() if each.kind.is_expression()]
            if len(children) != 1:
                break
            cursor = children[0]
        return cursor

    def operator_of(self, cursor):
        return cursor.binary_operator.name if cursor.kind == self.K.BINARY_OPERATOR else ""

    def has_word_before(self, cursor, end, words):
        """Whether one of the words is among the tokens from the cursor's start to the offset."""
        return any(text in words for _, text in self.tokens_between(cursor.extent.start.offset, end))
