# SPDX-License-Identifier: Apache-2.0
"""Tests docs/line_lengths.py: which lines are too long, and which files it reads.

usage: line_lengths_test.py SOURCE_DIR
"""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv.pop()).resolve() / "docs"))
import line_lengths  # noqa: E402

FULL = "x" * line_lengths.LIMIT


def found(name, text):
    return list(line_lengths.long_lines(name, text))


class Lines(unittest.TestCase):
    def test_line_at_the_limit_is_not_found_and_a_longer_one_is(self):
        self.assertEqual(found("a.cpp", f"{FULL}\n{FULL}x\n"), [(2, 121)])

    def test_last_line_without_its_end_is_found(self):
        self.assertEqual(found("a", f"\n{FULL}x"), [(2, 121)])

    def test_columns_are_characters_and_not_bytes(self):
        self.assertEqual(found("a.md", "ü" * line_lengths.LIMIT), [])

    def test_row_of_a_table_may_be_longer_in_a_document_only(self):
        row = f"  | {FULL} |\n"
        self.assertEqual(found("a.md", row), [])
        self.assertEqual(found("a.cpp", row), [(1, 126)])

    def test_prose_and_code_of_a_document_are_found(self):
        self.assertEqual(found("a.md", f"{FULL} |\n```\n{FULL}x\n```\n"), [(1, 122), (3, 121)])


class Files(unittest.TestCase):
    def test_build_folder_and_files_that_a_program_writes_are_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("a/b.cpp", "a/.hidden", "a/.git", "build/b.cpp", ".git/config",
                         "a/b.json", "a/b.svg", "a/b.patch"):
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.touch()
            self.assertEqual({path.relative_to(folder).as_posix() for path in line_lengths.files(folder)},
                             {"a/b.cpp", "a/.hidden"})

    def test_exceptions_are_in_the_tree_and_are_left_out(self):
        paths = set(line_lengths.files(line_lengths.ROOT))
        for place in line_lengths.LEFT_OUT_PLACES:
            self.assertTrue(place.exists(), place)
            self.assertFalse([path for path in paths if path.is_relative_to(place)], place)


if __name__ == "__main__":
    unittest.main()
