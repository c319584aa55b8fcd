#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies the compile commands of a build to a folder, but only the first command for each file, and without
ThreadSanitizer, whose headers belong to the compiler: clang-tidy may have another version.

usage: first_commands.py compile_commands.json folder
"""
import json
import sys
from pathlib import Path

commands, folder = Path(sys.argv[1]), Path(sys.argv[2])
first = {}
for command in json.loads(commands.read_text()):
    command["command"] = command["command"].replace(" -fsanitize=thread", "")
    first.setdefault(command["file"], command)
folder.mkdir(exist_ok=True)
(folder / commands.name).write_text(json.dumps(list(first.values()), indent=1))
