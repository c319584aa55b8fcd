# SPDX-License-Identifier: Apache-2.0
"""Tests docs/cited_names.py: it finds names that do not exist, and no others.

usage: cited_names_test.py SOURCE_DIR
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv.pop()).resolve() / "docs"))
import cited_names  # noqa: E402

NAMES = cited_names.Names()


def wrong(text):
    return [cited for _, cited in cited_names.wrong_names(text, NAMES)]


class CitedNames(unittest.TestCase):
    def test_suite_or_name_that_does_not_exist_is_found(self):
        self.assertEqual(wrong("By `asio_eventfd.cancel_of_nothing_here` and `no_such_suite.*`."),
                         ["asio_eventfd.cancel_of_nothing_here", "no_such_suite.*"])

    def test_pattern_with_a_match_exists(self):
        self.assertEqual(wrong("By `asio_eventfd.cancel_*`, `asio_write.*`."), [])
        self.assertEqual(wrong("By `asio_eventfd.cancel_xyz_*`."), ["asio_eventfd.cancel_xyz_*"])

    def test_prefix_of_no_instantiation_is_found(self):
        name = "asio_eventfd_slot.ends_its_operation_and_no_other"
        self.assertEqual(wrong(f"`every_type/{name}`, `no_type/{name}`"), [f"no_type/{name}"])

    def test_file_that_does_not_exist_is_found(self):
        self.assertEqual(wrong("`docs/no_such_file.md`, `docs/asio.md`, `base/*.cpp`, `build/anything`, `read/write`"),
                         ["docs/no_such_file.md"])

    def test_mutant_that_does_not_exist_is_found(self):
        self.assertEqual(wrong("Mutant 19, mutants 71a to 71c and mutants 53e, 53f, which is gone."), ["mutant 53f"])

    def test_files_and_settings_with_a_dot_are_no_tests(self):
        self.assertEqual(wrong("`libaio.so`, `LIBAIO_0.4`, `kernel.io_uring_disabled`"), [])

    def test_block_of_code_is_skipped(self):
        self.assertEqual(wrong("```sh\n`docs/no_such_file.md`\n```\n"), [])

    def test_line_numbers_are_right_after_a_block_of_code(self):
        text = "```\na\n```\n\n`docs/no_such_file.md`\n"
        [(at, _)] = cited_names.wrong_names(text, NAMES)
        self.assertEqual(text.count("\n", 0, at), 4)

    def test_link_to_no_file_or_section_is_found(self):
        path = cited_names.ROOT / "docs" / "asio.md"
        text = ("[a](asio.md#threads) [b](asio.md#no-such-section) [c](no_such.md) [d](https://a.b/c)\n"
                "[e](#here-it-is)\n## `Here` it, is\n```\n[f](eventfd_ctx&)\n```\n")
        self.assertEqual([cited for _, cited in cited_names.wrong_links(path, text)],
                         ["asio.md#no-such-section", "no_such.md"])

    def test_identifier_that_no_source_has_is_found(self):
        text = "`tail_`, `kioctx::no_such_member`, `next_id()`, `kref_last_put_weak`, `no_such_*`"
        words = {"tail_", "next_id", "kref_last_put"}
        self.assertEqual([cited for _, cited in cited_names.wrong_identifiers(text, words)], ["no_such_member"])


if __name__ == "__main__":
    unittest.main()
