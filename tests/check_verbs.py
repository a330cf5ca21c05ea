#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Functions in headers end things by the verbs of CONTRIBUTING.md ("One ladder of life verbs") alone.

`verbs_allowed.txt` lists names that still have another one; it can only shrink.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

REFUSED = {
    "abandon": "end", "bury": "drop", "cleanup": "finish", "conclude": "end", "deinit": "finish",
    "delete": "remove or destroy", "depart": "leave", "dispose": "destroy", "dissolve": "end",
    "fini": "finish", "free": "destroy, finish or unref", "gone": "end or ended", "hush": "stop",
    "kill": "end", "linger": "end", "quit": "end", "reap": "destroy", "shutdown": "stop or close",
    "teardown": "finish", "terminate": "end", "uninit": "finish", "unlist": "remove",
}
ALLOCATOR = "codec/base/mem.h"  # has the names of malloc(3)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FUNCTION = re.compile(r"^[A-Za-z_][\w \t*()]*?\b([a-z]\w*)\(", re.MULTILINE)
ALLOWED = "tests/verbs_allowed.txt"


def name_problems(path, name):
    # A handler is named by what it hears.
    words = [] if "_on_" in name else name.split("_")[1:]
    return [f"{path}: {name}: the ladder has no \"{word}\"; {REFUSED[word]}?"
            for word in words if word in REFUSED]


def find_problems(root):
    listed = os.path.exists(os.path.join(root, ALLOWED))
    allowed = set(sources.read(root, ALLOWED).split()) if listed else set()
    problems = []
    met = set()
    for path in sources.list_files(root, ".h"):
        if path.startswith("tests/") or path == ALLOCATOR:
            continue
        for name in FUNCTION.findall(COMMENT.sub("", sources.read(root, path))):
            found = name_problems(path, name)
            met |= {name} if found else set()
            problems += [] if name in allowed else found
    problems += [f"{ALLOWED}: {name} is not needed: take it out" for name in sorted(allowed - met)]
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "verbs"))
