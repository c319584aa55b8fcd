# SPDX-License-Identifier: Apache-2.0
"""Tests how the times of a run become the tables, the picture and the documents, and that the committed documents show
the committed data.

usage: results_test.py SOURCE_DIR
"""
import json
import re
import shutil
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import growth
import picture
import publish
import results
from table import Against, Row

SOURCE = Path(sys.argv.pop()).resolve()
SVG = "{http://www.w3.org/2000/svg}"

ROWS = (
    Row(1, "signal, no waiter", "signal", "signal/doorbell", (
        Against("write(2) on a kernel eventfd", "signal/kernel", at_least=20, brief="write(2)"),
        Against("one atomic RMW", "signal/rmw", at_most=1.6, kind="limit"),
    ), is_key=True),
    Row(12, "drop-in, hot <page cache>", "fio", "fio/doorbell", (
        Against("kernel AIO", "fio/kernel", at_least=1.5),
        Against("fio's io_uring engine", "fio/io_uring", at_least=1.0),
    ), brief="hot <page cache>"),
    Row(18, "Asio file reads", "files", "doorbell@files", (Against("Boost.Asio's", "boost@files", at_least=1.0),)),
)
TIMES = {
    "signal/doorbell": [2.0, 2.5, 3.0], "signal/kernel": [250.0, 300.0, 200.0], "signal/rmw": [2.0, 2.0, 2.0],
    "fio/doorbell": [1000.0], "fio/kernel": [1400.0], "fio/io_uring": [20.0],
    "doorbell@files": [100.0, 200.0, 400.0], "boost@files": [110.0, 210.0, 800.0],
}
FACTS = {"date": "2026-01-02", "processor": "Example CPU, 2 CPUs", "linux": "6.1"}


def fixture():
    """Converts the data to JSON and back, as separate programs do that pass it in a file."""
    return json.loads(json.dumps(results.results_of(ROWS, TIMES, FACTS)))


def texts(element):
    return [found.text for found in element.iter(f"{SVG}text")]


class ResultsTest(unittest.TestCase):
    def test_medians_are_compared(self):
        peer, limit = fixture()["rows"][0]["against"]
        self.assertEqual((peer["ratio"], peer["met"]), (100, True))
        self.assertEqual((limit["ratio"], limit["met"]), (0.8, True))

    def test_alternately_measured_sides_are_compared_in_each_repetition(self):
        peer = fixture()["rows"][2]["against"][0]
        self.assertAlmostEqual(peer["ratio"], 1.1)
        self.assertIsNotNone(peer["error"])

    def test_table_marks_a_miss(self):
        verdicts = [line[-1] for line in results.table_of(fixture())]
        self.assertEqual(verdicts, ["", "met", "met", "MISSED", "MISSED", "met"])

    def test_key_table_has_key_rows_only(self):
        self.assertEqual([line[0] for line in results.key_table_of(fixture())], ["work", "signal, no waiter"])

    def test_key_table_marks_a_miss(self):
        measured = fixture()
        measured["rows"][1]["is_key"] = True
        self.assertIn("1.40x as fast (target >= 1.5x: missed)", results.key_table_of(measured)[2])


class PictureTest(unittest.TestCase):
    def setUp(self):
        self.root = ElementTree.fromstring(picture.draw(fixture()))
        self.rows = [group for group in self.root.iter(f"{SVG}g")]

    def test_every_row_and_group_is_there(self):
        for row in ROWS:
            self.assertIn(row.short_work, texts(self.root))
            self.assertIn(row.group, texts(self.root))
        self.assertEqual(len(self.rows), len(ROWS))

    def test_date_and_machine_are_there(self):
        self.assertTrue(any(all(fact in text for fact in FACTS.values()) for text in texts(self.root)))

    def test_a_miss_is_drawn_as_a_miss(self):
        styles = [{part.get("class") for part in row.iter()} for row in self.rows]
        self.assertEqual(["dot missed" in style for style in styles], [False, True, False])
        self.assertEqual(["dot met" in style for style in styles], [True, False, True])
        self.assertIn("target >= 1.5x: missed", self.rows[1].find(f"{SVG}title").text)

    def test_the_speed_that_the_strictest_target_demands_is_marked(self):
        # The io_uring engine is 70 times as fast as the kernel's AIO, and the target is its speed.
        self.assertEqual(picture.speeds(fixture()["rows"][1])["target"], 70)

    def test_a_limit_is_drawn(self):
        styles = [{part.get("class") for part in row.iter()} for row in self.rows]
        self.assertEqual(["limit" in style for style in styles], [True, False, False])

    def test_no_part_of_a_row_is_outside_the_picture(self):
        for row in self.rows:
            for part in row.iter():
                for name in ("x", "x1", "x2", "cx"):
                    self.assertTrue(0 <= float(part.get(name, 0)) <= picture.WIDTH)

    def test_same_results_same_picture(self):
        self.assertEqual(picture.draw(fixture()), picture.draw(fixture()))


class DocumentsTest(unittest.TestCase):
    def test_picture_is_of_its_data(self):
        pictures = sorted(SOURCE.glob("docs/results-*.svg"))
        self.assertTrue(pictures)
        for path in pictures:
            self.assertEqual(path.read_text(), picture.draw(results.read(path.with_suffix(".json"))), path.name)

    def test_documents_show_their_data(self):
        for document in publish.DOCUMENTS:
            text = (SOURCE / document).read_text()
            name = re.search(r"results-[\d-]+\d", text)[0]
            measured = results.read(SOURCE / "docs" / f"{name}.json")
            self.assertEqual(publish.with_results(text, document, measured, name), text, document)

    def test_publish_writes_documents_data_and_picture(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "docs").mkdir()
            for document in publish.DOCUMENTS:
                shutil.copy(SOURCE / document, root / document)
            results.write(fixture(), root / "results.json")
            publish.publish(root / "results.json", root)
            self.assertIn("100x as fast", (root / "README.md").read_text())
            self.assertIn("docs/results-2026-01-02.svg", (root / "README.md").read_text())
            self.assertEqual(results.read(root / "docs/results-2026-01-02.json"), fixture())
            self.assertEqual((root / "docs/results-2026-01-02.svg").read_text(), picture.draw(fixture()))
            # The fixture has only three rows, so the full table stays unchanged.
            self.assertEqual((root / "docs/performance.md").read_text(), (SOURCE / "docs/performance.md").read_text())

    def test_quick_start_has_exactly_two_commands(self):
        quick_start = (SOURCE / "README.md").read_text().partition("## Quick start")[2]
        commands = re.search(r"```sh\n(.*?)```", quick_start, re.DOTALL)[1].splitlines()
        self.assertEqual(commands, ["scripts/demo", "scripts/test"])
        for command in commands:
            self.assertTrue((SOURCE / command).is_file())

    def test_document_without_a_place_is_refused(self):
        with self.assertRaises(ValueError):
            publish.replace_marked("no markers here", "table")



def measured(name, of, **values):
    return {"run_type": "iteration", "run_name": name, "cpu_time": of, "real_time": 10 * of, **values}


class GrowthTest(unittest.TestCase):
    def test_points_are_medians_by_curve_side_and_number(self):
        found = growth.points([
            measured("growth/eventfds/doorbell/10", 1), measured("growth/eventfds/doorbell/10", 9),
            measured("growth/eventfds/doorbell/10", 2), measured("growth/files/kernel/100/real_time", 3),
            measured("growth/threads/kernel/real_time/threads:4", 5),
            measured("growth/hup/doorbell/1000/manual_time", 7, each=2e-9),
            measured("growth/eventfds/doorbell/10000", 3, bytes=88)])
        self.assertEqual(found["eventfds", "doorbell", "time"], {10: 2, 10000: 3})
        self.assertEqual(found["files", "kernel", "time"], {100: 30})
        self.assertEqual(found["threads", "kernel", "time"], {4: 50})
        self.assertEqual(found["hup", "doorbell", "each"], {1000: 2})
        self.assertEqual(found["eventfds", "doorbell", "bytes"], {10000: 88})

    def test_a_cost_that_grows_by_a_large_factor_twice_in_a_row_grows_faster_than_linearly(self):
        self.assertTrue(growth.grows_too_fast({1: 1, 10: 4, 100: 20}))
        self.assertFalse(growth.grows_too_fast({1: 1, 10: 4, 100: 5, 1000: 20}))
        self.assertFalse(growth.grows_too_fast({1: 0, 10: 4, 100: 40}))

    def test_the_last_point_decides_whether_the_target_is_met(self):
        curve = growth.Curve("hup", "HUP", "notifiers", "each", 19, 20)
        self.assertIn("row 19, at most 20 ns: met", growth.verdict(curve, "doorbell", {1: 40, 10: 20}))
        self.assertIn("missed", growth.verdict(curve, "doorbell", {1: 4, 10: 21}))
        self.assertEqual(growth.verdict(curve, "kernel", {1: 4, 10: 21}), "")

    def test_each_benchmark_of_the_program_belongs_to_a_curve(self):
        source = (SOURCE / "bench" / "growth.cpp").read_text()
        self.assertEqual({name for name in re.findall(r'"growth/(\w+)/', source)},
                         {curve.name for curve in growth.CURVES})


if __name__ == "__main__":
    unittest.main()
