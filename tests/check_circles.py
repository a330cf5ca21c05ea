#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No circles of files: not by calls (who names whose function), not by includes of headers.

A module is one node: its .c and .h. Circles that still stand are lines of circles_allowed.txt,
`calls FILE …` or `includes FILE …`. A file that is in no circle any more must leave its line, so
the list can only shrink.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402
import symbols  # noqa: E402

ALLOWED = "tests/circles_allowed.txt"


def module(path):
    return os.path.splitext(path)[0]


def product(tree):
    return [path for path in tree.words if path.startswith(symbols.PRODUCT)]


def draw_calls(tree):
    """Module -> the modules whose public functions it names."""
    arrows = {module(path): set() for path in product(tree)}
    for name, home in tree.public_functions().items():
        for path in tree.namers(name):
            if path.startswith(symbols.PRODUCT) and path.endswith(".c"):
                arrows[module(path)].add(module(home))
    return arrows


def draw_includes(tree):
    """Module -> the modules whose headers it includes."""
    arrows = {module(path): set() for path in product(tree)}
    for path in product(tree):
        arrows[module(path)].update(module(header) for header in tree.includes[path])
    return arrows


def reach(arrows, start):
    """Every module that can be reached from `start` by at least one arrow."""
    seen, waiting = set(), [start]
    while waiting:
        for other in arrows.get(waiting.pop(), ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def find_circles(arrows):
    """The sets of modules that all reach each other, each as a sorted tuple."""
    arrows = {node: ends - {node} for node, ends in arrows.items()}
    reached = {node: reach(arrows, node) for node in arrows}
    return sorted({tuple(sorted(other for other in reached[node] if node in reached.get(other, ())))
                   for node in arrows if node in reached[node]})


def read_allowed(root):
    """Kind -> the sets of modules that may still be in one circle."""
    allowed = {"calls": [], "includes": []}
    if os.path.exists(os.path.join(root, ALLOWED)):
        for line in sources.read(root, ALLOWED).splitlines():
            words = line.split()
            if words and not line.startswith("#"):
                allowed[words[0]].append(set(words[1:]))
    return allowed


def compare(kind, circles, allowed):
    """Complaints about circles that no line allows, and about lines with more than is needed."""
    for circle in circles:
        if not any(set(circle) <= line for line in allowed):
            yield f"circle by {kind}: {' '.join(circle)}"
    for line in allowed:
        needed = {name for circle in circles if set(circle) <= line for name in circle}
        for name in sorted(line - needed):
            yield f"{ALLOWED}: {kind}: {name} is in no such circle: take it out of its line"


def find_problems(root):
    tree, allowed = symbols.Tree(root), read_allowed(root)
    circles = {"calls": find_circles(draw_calls(tree)), "includes": find_circles(draw_includes(tree))}
    return [text for kind in circles for text in compare(kind, circles[kind], allowed[kind])]


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "circles"))
