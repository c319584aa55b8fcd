#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts sentences and phrases that make the text of the project hard to read.

Reads the comments of all sources, the names of the tests, the headers of the mutants, the documents and the manual
page. Counts sentences that begin with What, Who, Whoever or That, and the phrases "at once", "somebody", "nobody" and
"but for". Prints the number in 1000 sentences, and the number in each file. The exit status is 1 if there are more
than --limit in 1000, or if "at once" occurs more than --at-once times.

Code in documents is not counted. Parts that another script writes are not counted either, because their source is.
"""
import argparse
import dataclasses
import io
import os
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The test `sentences` of the preset lint compares the tree with these numbers, which may only go down.
LIMIT = 8
AT_ONCE_LIMIT = 0

FINDINGS = {
    "What": re.compile(r"^What\b"),
    "Who": re.compile(r"^Who\b"),
    "Whoever": re.compile(r"^Whoever\b"),
    "That": re.compile(r"^That\b"),
    "at once": re.compile(r"\bat once\b", re.IGNORECASE),
    "somebody": re.compile(r"\bsomebody\b", re.IGNORECASE),
    "nobody": re.compile(r"\bnobody\b", re.IGNORECASE),
    "but for": re.compile(r"\bbut for\b", re.IGNORECASE),
}
FEWEST_WORDS = 3  # of a sentence; a number in a table is not one
NO_SENTENCE = re.compile(r"SPDX-|NOLINT|shellcheck |clang-format |namespace [\w:]+$")

LEFT_OUT_FOLDERS = {".git", "build", "corpus"}
LEFT_OUT_FILES = {"sentences.py", "sentences_test.py"}  # they are about these words


@dataclasses.dataclass(frozen=True)
class Sentence:
    path: Path
    line: int
    text: str

    @property
    def findings(self):
        begin = re.sub(r"^[^\w]+", "", re.sub(r"`[^`]*`", "code", self.text))
        begin = begin[:1].upper() + begin[1:] if "_" not in begin.partition(" ")[0] else begin
        return [name for name, pattern in FINDINGS.items() if pattern.search(begin)]


# Each reader below yields blocks: lists of (line number, text). A sentence may continue on the next line of its block.

def c_comments(text):
    """Consecutive lines of // are one block; a comment after code is a block by itself."""
    token = re.compile(r'R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\''
                       r'|//[^\n]*|/\*.*?\*/', re.DOTALL)
    block, last = [], None
    for found in token.finditer(text):
        comment = found.group()
        number = text.count("\n", 0, found.start()) + 1
        if comment.startswith("/*"):
            yield [(number + at, line.strip(" */")) for at, line in enumerate(comment[2:-2].split("\n"))]
        elif comment.startswith("//"):
            behind_code = text[text.rfind("\n", 0, found.start()) + 1:found.start()].strip() != ""
            if number - 1 != last or behind_code:
                yield block
                block = []
            block.append((number, re.sub(r"^///?<?\s?", "", comment)))
            last = None if behind_code else number
    yield block


TEST_NAME = re.compile(r"^ *(?:TEST|TEST_F|TEST_P|TYPED_TEST)\((\w+),\s*(\w+)\)", re.MULTILINE)
SCENARIO_NAME = re.compile(r'^(?:SCENARIO|WEAK_SCENARIO|LITMUS)\((\w+),[^"]*(?:"[01 ]*", *)?"([^"\n]*)"', re.MULTILINE)


def test_names(text):
    """The name of a test, and the name and the oracle of a scenario, are sentences."""
    for found in TEST_NAME.finditer(text):
        yield [(text.count("\n", 0, found.start()) + 1, found.group(2).replace("_", " "))]
    for found in SCENARIO_NAME.finditer(text):
        number = text.count("\n", 0, found.start()) + 1
        yield [(number, found.group(1).replace("_", " "))]
        yield [(number, found.group(2))]


def python_text(text):
    """Comments, and strings that are statements."""
    block, last, before = [], None, tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        number = token.start[0]
        if token.type == tokenize.COMMENT:
            if number - 1 != last:
                yield block
                block = []
            block.append((number, token.string.lstrip("#! ")))
            last = number
        elif token.type == tokenize.STRING and before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.NL):
            yield [(number + at, line.strip(' "')) for at, line in enumerate(token.string.split("\n"))]
        if token.type != tokenize.COMMENT:
            before = token.type
    yield block


def hash_comments(text):
    """Comments of CMake, shell scripts and settings. A # inside a word or a string does not begin a comment."""
    block, last = [], None
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r"""((?:[^#"']|"(?:\\.|[^"\\])*"|'[^']*'|(?<!\s)#)*?)(?:^|(?<=\s))#(?!!)(.*)""", line)
        if found is None:
            continue
        if number - 1 != last or found.group(1).strip():
            yield block
            block = []
        block.append((number, found.group(2).strip("# ")))
        last = number
    yield block


BLOCK_BEGINS = re.compile(r"^(#+ |[-*] |\d+\. |> )")


def markdown(text):
    block, fenced, generated = [], False, False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith("```"):
            fenced = not fenced
            yield block
            block = []
        elif fenced:
            continue
        elif line.startswith("<!--"):
            generated = re.search(r"\bwritten by\b", line, re.IGNORECASE) is not None
        elif generated:
            continue
        elif not line or line.startswith(("|", "#")) or BLOCK_BEGINS.match(line):
            yield block
            if line.startswith("|"):
                yield from ([(number, cell)] for cell in re.split(r"(?<!\\)\|", line))
                block = []
            else:
                block = [(number, BLOCK_BEGINS.sub("", line))]
                if line.startswith("#"):
                    yield block
                    block = []
        else:
            block.append((number, line))
    yield block


def roff(text):
    block, tag = [], False  # the line after .TP is a tag, not a part of the next sentence
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"\.(PP|TP|SH|IP|nf|fi|RS|RE)\b", line) or line.startswith(('.\\"', "'\\\"")):
            yield block
            block = []
        if line.startswith((".SH", '.\\"')):
            continue
        macro = line.partition(" ")[0]
        line = re.sub(r'^\.(SH|TH|[BIR]{1,2}|br|IP|PP|TP)\b *', "", line)
        block.append((number, re.sub(r"\\f.", "", line).replace("\\-", "-").replace('"', "")))
        if tag:
            yield block
            block = []
        tag = macro == ".TP"
    yield block


def mutant_header(text):
    """The values of the fields, except the fields that name tests."""
    block = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("diff --git"):
            break
        field = re.match(r"([A-Z][A-Za-z-]*): +(.*)", line)
        if field or not line:
            yield block
            block = []
        if field and field.group(1) in ("Caught-by", "CI"):
            continue
        block.append((number, field.group(2) if field else line.strip()))
    yield block


def c_source(text):
    yield from c_comments(text)
    yield from test_names(text)


READERS = {".cpp": c_source, ".hpp": c_source, ".c": c_source, ".h": c_source, ".py": python_text, ".md": markdown,
           ".1": roff, ".patch": mutant_header}


def reader(path, text):
    if path.suffix in READERS:
        return READERS[path.suffix]
    if text.startswith("#!") and "python" in text.partition("\n")[0]:
        return python_text
    is_script = text.startswith("#!")
    if is_script or path.name == "CMakeLists.txt" or path.suffix in (".cmake", ".supp", ".in", ".yml", ".map", ".conf"):
        return hash_comments
    return None


# A sentence ends before a space and a capital letter, a quotation or code, but not after "e.g.".
END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)[)\"']?\s+(?=[A-Z`\"'(\d_@\\])")
DOXYGEN = re.compile(r"(?:^|\s)[@\\](?:param(?:\[\w+\])?\s+\w+|tparam\s+\w+|throws\s+\w+"
                     r"|return|returns|brief|note|pre|post)\b")


def sentences(path, text):
    for block in (reader(path, text) or (lambda _: ()))(text):
        at, joined = [], ""
        for number, line in block:
            if not line.strip():  # a paragraph ends here
                joined += "\0"
            elif re.match(r"\s*(?:[-*] |\d+\. |[@\\](?:param|return|throws|tparam|brief))", line):
                joined += "\0"
            at.append((len(joined), number))
            joined += DOXYGEN.sub("\0", line.strip()) + " "
        for part in re.finditer(r"[^\0]+", joined):
            begin = part.start()
            for end in [*(each.end() for each in END.finditer(part.group())), len(part.group())]:
                sentence = joined[begin:part.start() + end].strip(" -*")
                if len(re.findall(r"[A-Za-z]{2,}|\b[aAI]\b", sentence)) >= FEWEST_WORDS:
                    skipped = begin + len(joined[begin:]) - len(joined[begin:].lstrip())
                    yield Sentence(path, max(number for offset, number in at if offset <= skipped), sentence)
                begin = part.start() + end


def files(places):
    for place in places:
        if place.is_file():
            yield place
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(each for each in folders if each not in LEFT_OUT_FOLDERS)
            yield from (Path(folder) / name for name in sorted(names) if name not in LEFT_OUT_FILES)


def read(places):
    for path in files(places):
        try:
            text = path.read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        yield from (each for each in sentences(path, text) if not NO_SENTENCE.match(each.text))


def name_of(path):
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def print_table(all_sentences):
    by_file = {}
    for each in all_sentences:
        count = by_file.setdefault(each.path, [0, 0])
        count[0] += 1
        count[1] += len(each.findings)
    print("found  in sentences  file")
    for path, (number, found) in sorted(by_file.items(), key=lambda item: (-item[1][1], item[0])):
        if found:
            print(f"{found:5}  {number:12}  {name_of(path)}")
    counts = {name: sum(name in each.findings for each in all_sentences) for name in FINDINGS}
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))


def main():
    about, _, details = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="docs/sentences.py", description=about, epilog=details,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", type=Path, metavar="PLACE",
                        help="files and folders to read (default: the whole tree)")
    parser.add_argument("--list", action="store_true", help="print each place and its sentence instead of the table")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="N",
                        help="findings in 1000 sentences that are allowed (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=AT_ONCE_LIMIT, metavar="N",
                        help='how often "at once" may occur (default: %(default)s)')
    arguments = parser.parse_args()
    places = [each.resolve() for each in arguments.places] or [ROOT]
    for each in places:
        if not each.exists():
            parser.error(f"there is no {each}")
    all_sentences = list(read(places))
    found = [each for each in all_sentences if each.findings]
    if arguments.list:
        for each in found:
            print(f"{name_of(each.path)}:{each.line}: [{', '.join(each.findings)}] {each.text}")
    else:
        print_table(all_sentences)
    number = sum(len(each.findings) for each in found)
    at_once = sum("at once" in each.findings for each in found)
    rate = 1000 * number / max(1, len(all_sentences))
    print(f"{number} in {len(all_sentences)} sentences: {rate:.1f} in 1000 (limit {arguments.limit:g}); "
          f'"at once": {at_once} (limit {arguments.at_once})')
    return 1 if rate > arguments.limit or at_once > arguments.at_once else 0


if __name__ == "__main__":
    sys.exit(main())
