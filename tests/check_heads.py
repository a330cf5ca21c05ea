#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every C file begins, behind its licence line, with a sentence on what it is for (CONTRIBUTING.md).

A header may have its name in front of the sentence. The order of a file is no sentence on what it
is for: that stands before it.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

LEAST_WORDS = 4
HEAD = re.compile(r"[^\n]*\n/\*(.*?)\*/", re.DOTALL)
NAME = re.compile(r"^[\w./]+(?:, [\w./]+)* - ")
NOT_FOR_WHAT = re.compile(r"(?:order(?: of this file)?|sections|invariants?):", re.IGNORECASE)


def first_sentence(text):
    """The first sentence of the comment at the top, without the file's name; None without one."""
    found = HEAD.match(text)
    if not found:
        return None
    lines = [line.strip().lstrip("*").strip() for line in found.group(1).strip().split("\n")]
    paragraph = " ".join(lines[:lines.index("")] if "" in lines else lines)
    sentence = re.match(r"(.*?[.:])(?= |$)(?<!:)|(.*[.:])$", NAME.sub("", paragraph))
    return sentence.group(0) if sentence else None


def check_file(path, text):
    sentence = first_sentence(text)
    if sentence is None:
        return [f"{path}:2: no sentence on what the file is for behind the licence line"]
    if NOT_FOR_WHAT.match(sentence):
        return [f"{path}:2: what the file is for stands before its order"]
    if len(sentence.split()) < LEAST_WORDS:
        return [f"{path}:2: \"{sentence}\" says too little of what the file is for"]
    return []


def find_problems(root):
    problems = []
    for path in sources.list_files(root, ".c", ".h", ".def"):
        if not path.startswith("tests/data/"):
            problems += check_file(path, sources.read(root, path))
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "heads"))
