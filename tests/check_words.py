#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must not stand in the tree: unfinished marks, tests switched off, places of one machine.

Patterns are written in pieces, so that this file passes its own check.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

ANYWHERE = [
    ("an unfinished mark", re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")),
    ("a path of one machine",
     re.compile(r"(?<![\w.}])/(?:wo" r"rk/(?!flows)|ro" r"ot/|ho" r"me/\w+/|tm" r"p/h/|Us" r"ers/)")),
    ("a package registry",
     re.compile(r"(?:registry|artifactory|nexus|proxy|mirror)[\w.-]*\.(?:org|com|net|io|dev|corp)\b",
                re.IGNORECASE)),
    ("a resolved registry address", re.compile(r'"resolved"' r': *"http')),
]
IN_TESTS = [
    ("a test switched off",
     re.compile(r"\.skip\(|\.todo\(|\bskip: *tr" r"ue|\bxit\(|\bxdescribe\(|\.disabled *= *(?:tr" r"ue|1)")),
    ("a log that is not waited for (use logged)", re.compile(r"assert\.(?:match\([\w.\[\]]+\.lo" r"g,|ok\(.*(?:\.lo" r"g\b|\brecords\().*(?:>|match|test\()|ok\(/.*test\([\w.\[\]]+\.lo" r"g)")),
    ("a test run alone", re.compile(r"\.only\(|\bonly: *tr" r"ue")),
]
# What peers choose would begin a line of its own: log_quote.
UNQUOTED = re.compile(r"\blog_(?:error|warn|info|debug)\([^;]*?%\.\*s")
CODE = (".c", ".h", ".def", ".mjs", ".js", ".ts", ".py", ".sh")
LICENCE = "SPDX-License-Identifier: Apache-2.0"
NOT_TEXT = ("LICENSE",)


def check_line(path, number, line, patterns):
    return [f"{path}:{number}: {what}: {line.strip()[:120]}"
            for what, pattern in patterns if pattern.search(line)]


def check_file(root, path):
    text = sources.read(root, path)
    if "\0" in text or os.path.basename(path) in NOT_TEXT:
        return []
    problems = []
    lines = text.split("\n")
    patterns = ANYWHERE + (IN_TESTS if path.endswith(CODE) else [])
    for number, line in enumerate(lines, 1):
        problems += check_line(path, number, line, patterns)
    if path.endswith(".c"):
        problems += [f"{path}:{text.count(chr(10), 0, call.end()) + 1}: a text that is logged without log_quote"
                     for call in UNQUOTED.finditer(text)]
    if path.endswith(CODE) and not path.startswith("tests/data/"):
        if not any(LICENCE in line for line in lines[:2]):
            problems.append(f"{path}:1: no licence line")
    return problems


def find_problems(root):
    problems = []
    for path in sources.list_files(root):
        problems += check_file(root, path)
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "words"))
