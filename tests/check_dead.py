#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is public is used: functions by another file of the product, constants of headers by any.

A function that only its own file calls is static, unless a test tries it by itself. One that the
product never calls is dead, however many tests call it; what tests must set or see inside the
product is declared TEST_SEAM, and is an error in turn where the product uses it.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402
import symbols  # noqa: E402

# An application of the session layer as Peal's own is; it calls what only applications need.
APPLICATION = "tests/conformance/echo_hub.c"


def judge(tree, name, home):
    """The complaint about one public function, or None."""
    namers = tree.namers(name)
    own = namers.pop(home, 0) - 1
    # A prototype names it once; inline functions and macros of a header call it beside that.
    headers = [path for path in namers if path.endswith(".h")]
    calls = [path for path in namers if not path.startswith("tests/") and path not in headers]
    calls += [path for path in headers if path.startswith(symbols.PRODUCT) and namers[path] > 1]
    calls += [path for path in namers if path == APPLICATION]
    tested = any(path.startswith("tests/") and path != APPLICATION for path in namers)
    if name in tree.seams:
        return "TEST_SEAM, but the product calls it" if calls or own > 0 else None
    if calls or (own > 0 and tested):
        return None
    return "only its own file calls it: make it static" if own > 0 else "nothing calls it"


def find_problems(root):
    tree = symbols.Tree(root)
    problems = []
    for name, home in sorted(tree.public_functions().items(), key=lambda item: item[::-1]):
        complaint = judge(tree, name, home) if name != "main" else None
        if complaint:
            problems.append(f"{home}: {name}: {complaint}")
    for name, home in sorted(tree.header_constants().items(), key=lambda item: item[::-1]):
        if not name.endswith("_H") and sum(tree.namers(name).values()) < 2:
            problems.append(f"{home}: {name}: nothing names it")
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "dead code"))
