#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that tests, scenarios, mutants, files and sections that the documents cite exist.

A document cites a test as `suite.name`, with or without the prefix of its instantiation, and with * for a part of a
name; a mutant as "mutant 19" or "mutants 71a to 71c"; a file or folder by its path from the top of the tree, or a
public header by its path below doorbell/. Links to files and to sections of documents are checked, and so are the lines
Caught-by of the mutants. In docs/architecture.md, docs/proof.md and docs/recipes.md each identifier with an underscore
must occur in a source file. Prints each name that does not exist; the exit status is 1 if there is one.
"""
import argparse
import fnmatch
import re
import sys
from pathlib import Path

from names_in_tree import SCENARIO, expanded

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "sanitizers" / "mutants"
NOT_IN_TREE = {"build"}  # folders at the top that a build creates
DOCUMENTS = sorted({path for pattern in ("*.md", "*/*.md", "sanitizers/*/*.md") for path in ROOT.glob(pattern)
                    if path.relative_to(ROOT).parts[0] not in NOT_IN_TREE})
# Their identifiers are checked.
OF_THE_SOURCES = {ROOT / "docs" / name for name in ("architecture.md", "proof.md", "recipes.md")}
SOURCE_FOLDERS = ("aio", "asio", "base", "eventfd", "notifier", "libaio", "tests", "sanitizers", "bench", "cmake")

TEST = re.compile(r"^ *(?:TEST|TEST_F|TEST_P|TYPED_TEST)\((\w+),\s*(\w+)\)", re.MULTILINE)
INSTANCE = re.compile(r"INSTANTIATE_(?:TYPED_)?TEST_SUITE_P\((\w+),\s*(\w+)")
WEAK_VARIANT = re.compile(r"^AND_WEAK\((\w+)", re.MULTILINE)
# Names of files and settings contain a dot, too.
NO_TEST = re.compile(r".*\.(\w{1,4}|cmake|json|conf|lock|\d+)$|LIBAIO_|kernel\.|model\.NAME$")


def names_in_tests():
    """@return tests as suite.name, prefixes of instantiations, scenarios, and the text of the CMake files."""
    tests, prefixes, scenarios, of_cmake = set(), set(), set(), ""
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix in (".cpp", ".hpp"):
            text = path.read_text()
            tests |= {f"{suite}.{name}" for suite, name in TEST.findall(text)}
            prefixes |= {prefix for prefix, _ in INSTANCE.findall(text)}
            scenarios |= set(SCENARIO.findall(text)) | {f"{name}_weak" for name in WEAK_VARIANT.findall(text)}
        elif path.name == "CMakeLists.txt" or path.suffix == ".cmake":
            of_cmake += path.read_text()
    return tests, prefixes, scenarios, of_cmake


class Names:
    def __init__(self):
        self.tests, self.prefixes, self.scenarios, self.of_cmake = names_in_tests()
        self.mutants = {patch.name.split("-")[0] for patch in MUTANTS.glob("*.patch")}

    def is_test(self, cited):
        """@param cited: a GoogleTest filter, or a test of CMake; only the name after the dot is searched for."""
        group, _, name = cited.partition(".")
        prefix, found, suite = group.rpartition("/")
        if found and prefix not in self.prefixes:
            return False
        name = name.partition("/")[0]
        if fnmatch.filter(self.tests, f"{suite}.{name}"):
            return True
        return "*" not in name and re.search(rf"\b{name}\b", self.of_cmake) is not None

    def is_path(self, cited):
        return any(any(ROOT.glob(each)) or any(ROOT.glob(f"*/include/doorbell/{each}"))
                   for each in expanded(cited.rstrip("/")))


CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MUTANT_LIST = re.compile(r"\bmutants? ((?:\d+[a-z]?(?:, | and | to )?)+)", re.IGNORECASE)


def without_code(text):
    """@return the text with blanks in place of its code blocks."""
    return CODE_BLOCK.sub(lambda block: re.sub(r"[^\n]", " ", block.group()), text)


def wrong_names(text, names):
    """Yields the offset and the text of each name that does not exist."""
    text = without_code(text)
    tops = {each.name for each in ROOT.iterdir()} - NOT_IN_TREE
    for found in re.finditer(r"`([^`\n]+)`", text):
        cited = found.group(1)
        if re.fullmatch(r"(?:[\w*]+/)?[a-z][\w*]*\.[\w*]+(?:/\w+)?", cited) and not NO_TEST.match(cited):
            if not names.is_test(cited):
                yield found.start(), cited
        elif re.fullmatch(r"[\w.-]+/[\w./*{},-]*", cited) and cited.split("/")[0] in tops:
            if not names.is_path(cited):
                yield found.start(), cited
    for found in MUTANT_LIST.finditer(text):
        for cited in re.findall(r"\d+[a-z]?", found.group(1)):
            if cited not in names.mutants:
                yield found.start(), f"mutant {cited}"


def section_names(text):
    """@return the anchors of a document's sections, as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def wrong_links(path, text):
    for found in re.finditer(r"\]\(([^)\s]+)\)", without_code(text)):
        file, _, section = found.group(1).partition("#")
        if "://" in found.group(1):
            continue
        target = path.parent / file
        if not target.exists() or (section and section not in section_names(target.read_text() if file else text)):
            yield found.start(), found.group(1)


def words_of_sources():
    words = set()
    for folder in SOURCE_FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in (".hpp", ".cpp", ".c", ".h", ".py", ".txt", ".cmake", ".map"):
                words |= {path.stem, *re.findall(r"\w*_\w+", path.read_text())}
    return words


def wrong_identifiers(text, words):
    """Skips patterns and paths, which are checked elsewhere. The name of a scenario's variant is in no source file."""
    for found in re.finditer(r"`([^`\n]+)`", without_code(text)):
        if re.search(r"[*{}/.]", found.group(1)):
            continue
        for word in re.findall(r"\w*[a-z]_\w+", found.group(1)):
            if word not in words and word.removesuffix("_weak") not in words:
                yield found.start(), word


def wrong_catchers(patch, names):
    for number, line in enumerate(patch.read_text().split("\n"), 1):
        if line.startswith("diff --git"):
            return
        if not line.startswith("Caught-by:"):
            continue
        _, preset, _, cited, *_ = line.split()
        if preset == "model":
            exists = cited in names.scenarios
        else:
            exists = "." not in cited or names.is_test(cited)  # *name: a filter without a suite
        if not exists:
            yield number, cited


def main():
    about, _, details = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="docs/cited_names.py", description=about, epilog=details,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    names = Names()
    words = words_of_sources()
    wrong = []
    for path in DOCUMENTS:
        text = path.read_text()
        places = [*wrong_names(text, names), *wrong_links(path, text)]
        if path in OF_THE_SOURCES:
            places += wrong_identifiers(text, words)
        wrong += [(path, text.count("\n", 0, at) + 1, cited) for at, cited in places]
    for path in sorted(MUTANTS.glob("*.patch")):
        wrong += [(path, number, cited) for number, cited in wrong_catchers(path, names)]
    for path, number, cited in wrong:
        print(f"{path.relative_to(ROOT)}:{number}: there is no {cited}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
