# SPDX-License-Identifier: Apache-2.0
"""Tests docs/proof.py: the scenarios that it reads, the file of their numbers, and the parts of the document.

usage: proof_test.py SOURCE_DIR
"""
import contextlib
import io
import re
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(sys.argv.pop()).resolve()
sys.path.insert(0, str(SOURCE / "docs"))
import proof  # noqa: E402

ONE = proof.Scenario("lock_taken", "lock.cpp", 3, 0, "a thread gets it")
WEAK = proof.Scenario("lock_taken_weak", "lock.cpp", 2, 3, "")


class Scenarios(unittest.TestCase):
    def test_each_declaration_is_read(self):
        declared = 0
        for path in (SOURCE / "tests" / "model").glob("*.cpp"):
            text = path.read_text()
            declared += len(re.findall(r"^(?:SCENARIO|WEAK_SCENARIO|AND_WEAK|LITMUS)\(", text, re.MULTILINE))
        found = proof.read_scenarios()
        self.assertEqual(len(found), declared)
        self.assertEqual(len({each.name for each in found}), declared)

    def test_bounds_and_oracles_are_read(self):
        found = {each.name: each for each in proof.read_scenarios()}
        last_put = found["kref_last_put"]
        self.assertEqual((last_put.bound, last_put.weak, last_put.file), (3, 0, "kref.cpp"))
        self.assertTrue(last_put.oracle.startswith("exactly one"))
        self.assertEqual(found["kref_last_put_weak"].group, "kref_last_put")
        self.assertGreater(found["ring_publication"].weak, 0)
        self.assertTrue(all(each.oracle for each in found.values() if not each.name.endswith("_weak")))

    def test_oracle_of_two_literals_is_one_sentence(self):
        self.assertTrue(all("  " not in each.oracle and '"' not in each.oracle for each in proof.read_scenarios()))


class Counts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.addCleanup(setattr, proof, "COUNTS", proof.COUNTS)
        proof.COUNTS = self.folder / "schedules.txt"

    def program(self, *lines):
        """A replacement of the model checker, which prints the lines of the requested scenarios."""
        path = self.folder / "model"
        path.write_text("#!/usr/bin/env python3\nimport sys\n"
                        f"for line in {lines!r}:\n"
                        "    if len(sys.argv) == 1 or line.split()[0] in sys.argv[1:]: print(line)\n")
        path.chmod(0o755)
        return path

    def count(self, program, only_missing):
        with contextlib.redirect_stdout(io.StringIO()):
            proof.count(program, [ONE, WEAK], only_missing)

    LINES = ("lock_taken       bound 1 exhausted (and any higher), weak 0, 12 schedules, 0.01 s",
             "lock_taken_weak  bound 2 exhausted, weak 3, 345 schedules, 0.01 s")

    def test_counts_of_a_run_are_stored(self):
        self.count(self.program(*self.LINES), only_missing=False)
        self.assertEqual(proof.read_rows(), {"lock_taken": ("all", 0, 12), "lock_taken_weak": ("2", 3, 345)})
        self.assertEqual(proof.read_counts([ONE, WEAK]), {"lock_taken": 12, "lock_taken_weak": 345})

    def test_only_what_is_missing_or_has_other_bounds_is_counted(self):
        proof.COUNTS.write_text("# head\nlock_taken 3 0 7\nlock_taken_weak 1 3 8\nlock_gone 3 0 9\n")
        self.count(self.program(*self.LINES), only_missing=True)
        self.assertEqual(proof.read_rows(), {"lock_taken": ("3", 0, 7), "lock_taken_weak": ("2", 3, 345)})

    def test_file_that_does_not_fit_the_scenarios_is_an_error(self):
        proof.COUNTS.write_text("lock_taken 2 0 7\nlock_gone 3 0 9\n")
        with self.assertRaises(SystemExit) as ended:
            proof.read_counts([ONE, WEAK])
        for words in ("lock_gone is not a scenario", "lock_taken has other bounds", "lock_taken_weak is missing"):
            self.assertIn(words, str(ended.exception))

    def test_run_that_fails_stores_nothing(self):
        path = self.folder / "model"
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
        with self.assertRaises(SystemExit):
            self.count(path, only_missing=False)
        self.assertFalse(proof.COUNTS.exists())


class Document(unittest.TestCase):
    PROPERTY = "- **Lock** Threads get it.\n  - Scenarios: `lock_*`\n"

    class Tree:
        scenarios = [ONE, WEAK]
        summary = staticmethod(lambda mine: f"{len(mine)} of them")
        caught_by = staticmethod(lambda _mine: ["07"])

    def test_property_gets_its_items_once(self):
        once = proof.with_properties(self.PROPERTY, self.Tree)
        self.assertEqual(once, self.PROPERTY + "  - Explored: 2 of them\n  - Mutants: 07\n")
        self.assertEqual(proof.with_properties(once, self.Tree), once)

    def test_scenario_of_no_property_is_an_error(self):
        with self.assertRaises(SystemExit):
            proof.with_properties("nothing\n", self.Tree)

    def test_property_without_a_scenario_is_an_error(self):
        with self.assertRaises(SystemExit):
            proof.with_properties(self.PROPERTY + "- **Other**\n  - Scenarios: `other_*`\n", self.Tree)


if __name__ == "__main__":
    unittest.main()
