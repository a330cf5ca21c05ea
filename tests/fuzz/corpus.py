#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the inputs of a file of tests/data as one file each, for libFuzzer to begin with.

corpus.py FILE... FOLDER
"""
import os
import re
import sys

ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}


def unescape(text):
    def one(match):
        name = match.group(1)
        return bytes([int(name[1:], 16)]) if name[0] == "x" else ESCAPES[name]

    parts = re.split(r"(\\(?:x[0-9a-fA-F]{2}|.))", text)
    return b"".join(one(re.match(r"\\(.*)", part)) if part.startswith("\\") else part.encode() for part in parts)


def inputs(path):
    lines = []
    for line in open(path, encoding="ascii").read().splitlines():
        if line.startswith("< "):
            lines.append(line[2:])
        elif line.startswith("> "):
            yield unescape("".join(lines))
            lines = []


def main():
    *files, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for path in files:
        name = os.path.splitext(os.path.basename(path))[0]
        for number, content in enumerate(inputs(path)):
            with open(os.path.join(folder, f"{name}-{number}"), "wb") as out:
                out.write(content)


main()
