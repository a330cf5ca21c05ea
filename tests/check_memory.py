#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where the program ends when there is no memory: only in functions of `memory_allowed.txt`.

mem_alloc and its like abort; so does a CHECK around what only fails without memory. Both are for small
things of a fixed size, and for what a node makes as it begins with something (functions that are named so).
Whatever else has a size that is computed, or a CHECK of that kind, stands in the list, under a heading
that gives the reason. CONTRIBUTING.md: Errors and memory.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

ALLOWED = "tests/memory_allowed.txt"
FOLDERS = ("actors/", "codec/", "hub/")
ALLOCATOR = "codec/base/mem.c"
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
NAME = re.compile(r"\b([a-z_]\w*)\(")
FIXED = r"sizeof\([^()]*\)\)"
ABORTS = re.compile(rf"\bmem_(?:(?:alloc_array|realloc|realloc_array|dup)\(|alloc\((?!{FIXED}))")
BEGINS = re.compile(r"_(?:create|open|start|init|new|load)$|^(?:make|create)(?:_|$)|_make_")
CHECKED = re.compile(r"\bCHECK\([^;]*\b(?:mem_try_\w+|map_put|actor_start|\w*subscribe\w*|[A-Za-z0-9_]+_new\w*|SSL_\w+|"
                     r"EVP_\w+|BIO_\w+|HMAC)\(", re.DOTALL)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def functions(text):
    """Names and bodies, as clang-format lays them out: a body begins and ends in the first column."""
    head = ""
    body = None
    for line in COMMENT.sub(blank, text).split("\n"):
        if body is not None:
            if line.startswith("}"):
                yield name, "\n".join(body)
                body = None
            else:
                body.append(line)
        elif line == "{":
            name = NAME.search(head)
            name = name.group(1) if name else None
            body = [] if name else None
            head = ""
        elif line[:1] in ("#", "}", "") or line.endswith(";"):
            head = ""
        else:
            head += line + " "


def find_users(root):
    for path in sources.list_files(root, ".c"):
        if path.startswith(FOLDERS) and path != ALLOCATOR:
            for name, body in functions(sources.read(root, path)):
                if CHECKED.search(body) or (ABORTS.search(body) and not BEGINS.search(name)):
                    yield f"{path} {name}"


def read_allowed(root):
    if not os.path.exists(os.path.join(root, ALLOWED)):
        return set()
    lines = sources.read(root, ALLOWED).split("\n")
    return {line for line in lines if line and not line.startswith("#")}


def find_problems(root):
    allowed = read_allowed(root)
    return [f"{user}: ends the program without memory: use mem_try_, or give a reason in {ALLOWED}"
            for user in sorted(set(find_users(root))) if user not in allowed]


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "memory"))
