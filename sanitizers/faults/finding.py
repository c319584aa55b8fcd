# SPDX-License-Identifier: Apache-2.0
"""Finds the faults of files, in several processes."""
import concurrent.futures
import os
from pathlib import Path

from .layers import marked_lines, without_equivalent
from .finder import Finder
from .parsing import compile_options, parse


def options_for(path, options):
    """A header has no compile command of its own: it has that of a source of its layer, or of one that may include it.
    @param path: from the top of the tree. @param options: as compile_options(), by path from the top of the tree."""
    if path in options:
        return options[path]
    layer = path.partition("/")[0]
    candidates = [source for source in sorted(options) if source.startswith(f"{layer}/")]
    folder = f"/{layer}/include"
    candidates += [source for source in sorted(options) if any(word.endswith(folder) for word in options[source])]
    # A source in the same folder is preferred, because the header may include its neighbours by name alone.
    candidates.sort(key=lambda source: os.path.dirname(source) != os.path.dirname(path))
    return options[candidates[0]] if candidates else None


def find_in_file(root, path, options, kinds):
    """@return the faults of one file, and how many of them are marked as equivalent."""
    name = str(root / path)
    faults = Finder(parse(name, options), name, path, kinds).find()
    return without_equivalent(faults, marked_lines((root / path).read_text(), path))


def find(root, copy, database, paths, kinds, jobs, progress):
    """@param copy: the tree to which the paths in the database of compile commands refer. @return the faults of all
    files in their order, and how many more are marked as equivalent."""
    options = {str(Path(file).relative_to(copy)): [word.replace(str(copy), str(root)) for word in words]
               for file, words in compile_options(database).items() if Path(file).is_relative_to(copy)}
    faults, equivalent = [], 0
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        futures = {}
        for path in paths:
            its_options = options_for(path, options)
            if its_options is None:
                progress(f"left out, because this build does not compile it: {path}")
            else:
                futures[pool.submit(find_in_file, root, path, its_options, kinds)] = path
        for future in concurrent.futures.as_completed(futures):
            found, marked = future.result()
            faults += found
            equivalent += marked
    return sorted(faults), equivalent
