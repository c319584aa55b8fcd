# SPDX-License-Identifier: Apache-2.0
"""A random sample of the faults of many files, for which few of the files are parsed."""
import random

ROUNDS = 10


def sample(sizes, count, seed, find):
    """Draws files, larger ones more often, and for each draw one of the faults of the file. Files without faults,
    and those whose faults have all been drawn, are replaced by others.

    @param sizes: of the files, in bytes, by path.
    @param find: returns the faults of the files of a list, in their order.
    @return up to `count` faults in their order, the same ones for the same seed, files and faults."""
    generator = random.Random(seed)
    paths = sorted(sizes)
    left = {}  # the faults of the files that were parsed, in random order
    chosen = []
    for _ in range(ROUNDS):
        open_paths = [path for path in paths if path not in left or left[path]]
        if len(chosen) == count or not open_paths:
            break
        draws = generator.choices(open_paths, [sizes[path] for path in open_paths], k=count - len(chosen))
        found = {path: [] for path in sorted(set(draws) - left.keys())}
        for fault in find(list(found)):
            found[fault.path].append(fault)
        for path, faults in found.items():
            left[path] = generator.sample(faults, len(faults))
        for path in draws:
            if left[path]:
                chosen.append(left[path].pop())
    return sorted(chosen)
