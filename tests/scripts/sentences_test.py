# SPDX-License-Identifier: Apache-2.0
"""Tests docs/sentences.py: which text of a file it reads, where a sentence begins, and which sentences it finds.

usage: sentences_test.py SOURCE_DIR
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(sys.argv.pop()).resolve()
SCRIPT = SOURCE / "docs" / "sentences.py"
sys.path.insert(0, str(SCRIPT.parent))
import sentences  # noqa: E402


def read(name, text):
    return list(sentences.sentences(Path(name), text))


def texts(name, text):
    return [each.text for each in read(name, text)]


def found(name, text):
    return [(each.line, finding) for each in read(name, text) for finding in each.findings]


class Sources(unittest.TestCase):
    def test_sentence_that_spans_lines_has_the_number_of_its_first_line(self):
        text = "int a;\n// The first one ends here. What the\n// second one says is longer.\nint b;\n"
        self.assertEqual(found("a.cpp", text), [(2, "What")])
        self.assertEqual(texts("a.cpp", text)[1], "What the second one says is longer.")

    def test_phrase_that_spans_lines_is_found(self):
        self.assertEqual(found("a.cpp", "// Both threads may call this at\n// once if they must.\n"), [(1, "at once")])

    def test_comment_behind_code_is_a_block_by_itself(self):
        text = "int a;  ///< the number of threads\nint b;  ///< that wait for it\n"
        self.assertEqual(texts("a.hpp", text), ["the number of threads", "that wait for it"])

    def test_string_is_no_comment(self):
        self.assertEqual(texts("a.cpp", 'auto s = "// What is in here";\nauto c = \'"\'; // a quote, really\n'),
                         ["a quote, really"])
        self.assertEqual(texts("a.cpp", 'auto s = R"x(" // What is in here)x"; // a raw string, really\n'),
                         ["a raw string, really"])

    def test_block_comment_is_read(self):
        self.assertEqual(found("a.c", "/* Fine so far.\n * Who calls it knows that. */\n"), [(2, "Who")])

    def test_blank_comment_line_ends_a_sentence(self):
        self.assertEqual(len(texts("a.cpp", "// No full stop here\n//\n// What is this for\n")), 2)

    def test_doxygen_command_begins_a_sentence(self):
        self.assertEqual(found("a.hpp", "/// Reads the count\n/// @return what was read before\n"), [(2, "What")])

    def test_test_name_is_a_sentence(self):
        self.assertEqual(found("a.cpp", "TEST_F(kref, that_nobody_holds_is_freed) {\n"), [(1, "That"), (1, "nobody")])

    def test_scenario_and_its_oracle_are_sentences(self):
        text = ('SCENARIO(kref_put_by_two, 3, "nobody gets a reference") {\n'
                'LITMUS(litmus_a_b, "00 01", "who reads sees it")\n')
        self.assertEqual(found("a.cpp", text), [(1, "nobody"), (2, "Who")])

    def test_identifier_that_has_such_a_word_is_no_finding(self):
        self.assertEqual(found("a.cpp", "// try_at_once() is what_is there says nobody_waits.\n"), [])

    def test_closing_namespace_and_licence_are_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.cpp"
            path.write_text("// SPDX-License-Identifier: Apache-2.0\n}  // namespace doorbell::aio::detail\n")
            self.assertEqual(list(sentences.read([path])), [])


class OtherFiles(unittest.TestCase):
    def test_python_comments_and_docstrings_are_read(self):
        text = '"""That is the module\'s text."""\nx = "Who is in a string"  # nobody reads this here\n'
        self.assertEqual(found("a.py", text), [(1, "That"), (2, "nobody")])

    def test_shell_comment_is_read(self):
        self.assertEqual(found("a", '#!/bin/sh\n# What is a comment\necho "# Who is none" ${#x} # nobody reads it\n'),
                         [(2, "What"), (3, "nobody")])

    def test_cmake_comment_is_read(self):
        self.assertEqual(found("CMakeLists.txt", "set(a b)\n# All at once, but for\n# the last one.\n"),
                         [(2, "at once"), (2, "but for")])

    def test_code_and_generated_parts_of_documents_are_left_out(self):
        text = ("A text.\n\n```sh\n# What is in code\n```\n<!-- Written by a script: begin -->\nWhat is written by it\n"
                "<!-- end -->\nWhat is not shown is this.\n")
        self.assertEqual(found("a.md", text), [(9, "What")])

    def test_inline_code_is_no_phrase(self):
        self.assertEqual(found("a.md", "The words `at once` and `nobody` are code here. `That` is, too.\n"), [])

    def test_cells_headings_and_items_are_sentences(self):
        text = ("# What is it good for\n| what it does | who does it, then |\n"
                "- that is an item\n  of two lines\n- the next one\n")
        self.assertEqual(found("a.md", text), [(1, "What"), (2, "What"), (2, "Who"), (3, "That")])

    def test_manual_page_is_read_without_its_macros(self):
        self.assertEqual(found("a.1", ".TP\n.B \\-\\-check\nWhat it does\n.BR aio (7)\nis this.\n"), [(3, "What")])

    def test_mutant_header_is_read_and_its_diff_is_not(self):
        text = ("Origin: a patch; row 1\nEssence: Nothing is wrong. Who finds\n  it dead waits.\n"
                "Caught-by: release a_test a.that_nobody_waits\n\ndiff --git a/a b/a\n+// What is this for\n")
        self.assertEqual(found("a.patch", text), [(2, "Who")])


class Status(unittest.TestCase):
    def run_script(self, text, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.md"
            path.write_text(text)
            return subprocess.run([sys.executable, "-B", SCRIPT, path, *arguments], capture_output=True, text=True,
                                  check=False)

    def test_limit_decides_the_status(self):
        text = "What is one of two. The other one is fine.\n"
        self.assertEqual(self.run_script(text, "--limit", "499").returncode, 1)
        run = self.run_script(text, "--limit", "500")
        self.assertEqual(run.returncode, 0)
        self.assertIn("1 in 2 sentences: 500.0 in 1000", run.stdout)

    def test_at_once_has_a_limit_of_its_own(self):
        text = "Both may run at once.\n"
        self.assertEqual(self.run_script(text, "--limit", "1000", "--at-once", "0").returncode, 1)
        self.assertEqual(self.run_script(text, "--limit", "1000", "--at-once", "1").returncode, 0)

    def test_list_shows_place_finding_and_sentence(self):
        self.assertIn("a.md:1: [Who] Who asks must know.", self.run_script("Who asks must know.\n", "--list").stdout)

    def test_text_without_sentences_has_none_found(self):
        self.assertEqual(self.run_script("").returncode, 0)


if __name__ == "__main__":
    unittest.main()
