# SPDX-License-Identifier: Apache-2.0
"""Names that documents cite: patterns of files, and scenarios of the model checker."""
import re

SCENARIO = re.compile(r"^(?:SCENARIO|WEAK_SCENARIO|LITMUS)\((\w+)", re.MULTILINE)


def expanded(pattern):
    """@return the paths to which a shell expands `aio/{ring,request}.cpp`."""
    braces = re.search(r"\{([^}]*)\}", pattern)
    if braces is None:
        return [pattern.rstrip("/")]
    return [each for part in braces.group(1).split(",")
            for each in expanded(pattern[:braces.start()] + part + pattern[braces.end():])]
