#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds lines with more than 120 columns, which is the limit for code, comments and documents.

Prints the place and the length of each such line; the exit status is 1 if there is one. Rows of tables in documents may
be longer, and so may the lines of files that a program writes or reads as they are: data, pictures, patches, inputs of
the fuzz targets, and the expected output of a test.
"""
import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 120

NOT_IN_TREE = {".git", "build", "__pycache__"}  # .git is a file in a worktree
LEFT_OUT_SUFFIXES = {
    ".json",  # a string cannot continue on the next line; bench/publish.py writes the results of benchmarks
    ".svg",  # pictures, which docs/architecture.py and bench/picture.py draw
    ".patch",  # a line of a diff has one more column than its source, and headers have Caught-by in one line
}
LEFT_OUT_PLACES = {
    ROOT / "tests" / "fuzz" / "corpus",  # inputs that the fuzz targets found; a byte more is another input
    ROOT / "tests" / "scripts" / "faults" / "example.expected",  # the report of sanitizers/run_faults, one line a fault
}


def long_lines(name, text):
    """Yields the number and the length of each line that is too long. A table's row in Markdown cannot be wrapped."""
    for number, line in enumerate(text.split("\n"), 1):
        is_row = name.endswith(".md") and line.lstrip().startswith("|")
        if len(line) > LIMIT and not is_row:
            yield number, len(line)


def is_left_out(path):
    return path.name in NOT_IN_TREE or path.suffix in LEFT_OUT_SUFFIXES or path in LEFT_OUT_PLACES


def files(top):
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(each for each in folders if not is_left_out(Path(folder, each)))
        yield from (path for path in (Path(folder, name) for name in sorted(names)) if not is_left_out(path))


def main():
    about, _, details = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="docs/line_lengths.py", description=about, epilog=details,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    found = False
    for path in files(ROOT):
        try:
            text = path.read_text()
        except (UnicodeDecodeError, FileNotFoundError):  # not a text, or a link to nothing
            continue
        for number, length in long_lines(path.name, text):
            print(f"{path.relative_to(ROOT)}:{number}: {length} columns")
            found = True
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
