# SPDX-License-Identifier: Apache-2.0
"""Puts results into the documents: data and picture into docs/, the key rows into README.md, and the full table, if all
rows were measured, into docs/performance.md.

The text between the markers <!-- results: begin --> and <!-- results: end --> is replaced; everything else stays.
"""
import re
import textwrap

import picture
import results
from table import ROWS

# The facts about the machine that a document shows, each with its prefix.
VERSIONS = {"linux": "Linux ", "compiler": "", "glibc": "glibc ", "boost": "Boost ", "fio": "fio "}
MARKED = re.compile(r"(<!-- results: begin -->\n).*?(<!-- results: end -->)", re.DOTALL)


def replace_marked(text, content):
    text, count = MARKED.subn(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"{count} places for the results, not 1")
    return text


def machine_of(measured):
    facts = [measured["date"], measured["processor"]]
    facts += [f"{name}{measured[key]}" for key, name in VERSIONS.items() if key in measured]
    return ", ".join(facts)


def targets_met(measured):
    verdicts = [peer["met"] for row in measured["rows"] for peer in row["against"] if peer["met"] is not None]
    return f"{sum(verdicts)} of {len(verdicts)} targets are met."


def wrapped(paragraph):
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def for_readme(measured, name):
    key_table = results.key_table_of(measured)
    return "\n\n".join([
        f"![Each benchmark on a logarithmic scale: doorbell, its peer, target and limit](docs/{name}.svg)",
        wrapped(f"{len(key_table) - 1} of the {len(measured['rows'])} rows ({machine_of(measured)}). "
                f"{targets_met(measured)}"),
        results.markdown(key_table)])


def for_performance(measured, name):
    about = f"Measured on {machine_of(measured)} ([data]({name}.json), [picture]({name}.svg))."
    note = measured.get("note", "")
    return "\n\n".join([wrapped(f"{about} {targets_met(measured)} {note}"),
                        results.markdown(results.table_of(measured))])


def has_all_rows(measured):
    return {row.work for row in ROWS} <= {row["work"] for row in measured["rows"]}


# For each document: the function that makes its text, and whether it accepts results in which rows are missing.
DOCUMENTS = {"README.md": (for_readme, True), "docs/performance.md": (for_performance, False)}


def with_results(text, document, measured, name):
    content, accepts_missing_rows = DOCUMENTS[document]
    return replace_marked(text, content(measured, name)) if accepts_missing_rows or has_all_rows(measured) else text


def publish(path, root):
    measured = results.read(path)
    if not any(row["is_key"] for row in measured["rows"]):
        raise ValueError("none of the rows that README.md shows was measured")
    name = f"results-{measured['date']}"
    texts = {document: with_results((root / document).read_text(), document, measured, name) for document in DOCUMENTS}
    for document, text in texts.items():
        (root / document).write_text(text)
    results.write(measured, root / "docs" / f"{name}.json")
    (root / "docs" / f"{name}.svg").write_text(picture.draw(measured))
