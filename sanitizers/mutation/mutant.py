# SPDX-License-Identifier: Apache-2.0
"""Mutants, as the headers of their patches describe them."""
import dataclasses
import functools
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MUTANTS = ROOT / "sanitizers" / "mutants"


class Trouble(Exception):
    """A failure of a mutant or of a named catcher, with the text for the table."""


@functools.cache
def presets():
    return {preset["name"] for preset in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}


@dataclasses.dataclass(frozen=True)
class Catcher:
    """A test or scenario that a Caught-by line names."""

    preset: str
    program: str
    name: str  # GoogleTest filter, or scenario of the model
    engine: str = ""

    def __str__(self):
        return " ".join(filter(None, [self.preset, self.program, self.name, self.engine]))


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    patch: Path
    origin: str
    essence: str
    catchers: tuple
    shows_as: str
    in_ci: bool

    @property
    def short_name(self):
        return self.name.split("-")[0]

    @property
    def may_hang(self):
        return "deadlock" in self.shows_as

    @classmethod
    def read(cls, patch):
        """A line of the header begins with a word and a colon, or continues the line before."""
        header, found, _ = patch.read_text().partition("\ndiff --git ")
        fields = re.findall(r"^([A-Z][A-Za-z-]*): +(.*(?:\n +.*)*)", header, re.MULTILINE)
        values = {}
        for key, value in fields:
            values.setdefault(key, []).append(" ".join(value.split()))
        for key in ("Origin", "Essence", "Caught-by", "Shows-as"):
            if key not in values:
                raise Trouble(f"{patch.name}: has no line {key}:")
        if not found:
            raise Trouble(f"{patch.name}: has no diff")
        try:
            catchers = tuple(Catcher(*line.split()) for line in values["Caught-by"])
        except TypeError:
            raise Trouble(f"{patch.name}: Caught-by: preset program test [engine]") from None
        for catcher in catchers:
            if catcher.preset not in presets():
                raise Trouble(f"{patch.name}: Caught-by: there is no preset {catcher.preset}")
        return cls(patch.stem, patch, values["Origin"][0], values["Essence"][0], catchers, values["Shows-as"][0],
                   values.get("CI") == ["yes"])


def read_mutants(names, ci):
    """@return the mutants whose names begin with one of `names` (all, if it is empty). For CI, only those with
    "CI: yes", each with its first catcher."""
    every = [Mutant.read(patch) for patch in sorted(MUTANTS.glob("*.patch"))]
    for name in names:
        if not any(mutant.name.startswith(name) for mutant in every):
            raise Trouble(f"no mutant's name begins with {name}")
    chosen = [mutant for mutant in every if not names or mutant.name.startswith(tuple(names))]
    if not ci:
        return chosen
    return [dataclasses.replace(mutant, catchers=mutant.catchers[:1]) for mutant in chosen if mutant.in_ci]
