# SPDX-License-Identifier: Apache-2.0
"""Parses C++ files by libclang, with the options of the build."""
import functools
import glob
import importlib
import json
import shlex
import sys
from pathlib import Path

from .fault import Trouble

FOLDERS_OF_DISTRIBUTION = "/usr/lib/python3/dist-packages"


@functools.cache
def clang():
    """The module clang.cindex, with its default library, or else the last libclang by name."""
    try:
        module = importlib.import_module("clang.cindex")
    except ImportError:  # a Python that is not the distribution's does not search this folder
        sys.path.append(FOLDERS_OF_DISTRIBUTION)
        try:
            module = importlib.import_module("clang.cindex")
        except ImportError:
            raise Trouble("the Python module clang.cindex is missing: scripts/deps check installs it") from None
    if not hasattr(module.Cursor, "binary_operator"):
        raise Trouble(f"{module.__file__} is too old: version 19 or later is needed; scripts/deps check installs it")
    try:
        module.Index.create()
    except module.LibclangError:
        libraries = sorted(glob.glob("/usr/lib/llvm-*/lib/libclang*.so.*") + glob.glob("/usr/lib/*/libclang-*.so.*"))
        if not libraries:
            raise Trouble("the library libclang is missing: scripts/deps check installs it") from None
        module.Config.loaded = False
        module.Config.set_library_file(libraries[-1])
    return module


def compile_options(database):
    """@param database: a compile_commands.json. @return for each file, by absolute path, the options that its parse
    needs."""
    kept_with_value = ("-isystem", "-include")
    options = {}
    for entry in json.loads(Path(database).read_text()):
        words = shlex.split(entry["command"])
        chosen = [word for word in words if word.startswith(("-I", "-D", "-std=", "-isystem/"))]
        for word, value in zip(words, words[1:]):
            if word in kept_with_value and "cmake_pch" not in value:
                chosen += [word, value]
        options[str(Path(entry["directory"], entry["file"]).resolve())] = chosen
    return options


def parse(path, options):
    """@return the translation unit. Raises Trouble if the file has errors, of which the first is named."""
    module = clang()
    recorded = module.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD
    unit = module.Index.create().parse(str(path), ["-xc++", *options], options=recorded)
    errors = [each for each in unit.diagnostics if each.severity >= module.Diagnostic.Error]
    if errors:
        raise Trouble(f"libclang cannot parse {path}: {errors[0]}")
    return unit
