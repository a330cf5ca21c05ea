#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No circles of files: not by calls (who names whose function), not by includes of headers.

A module is one node: its .c and .h. There are no exceptions: who must be told from below is told
through a table of functions that he hands down.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402
import symbols  # noqa: E402


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


def find_problems(root):
    tree = symbols.Tree(root)
    circles = {"calls": find_circles(draw_calls(tree)), "includes": find_circles(draw_includes(tree))}
    return [f"circle by {kind}: {' '.join(circle)}" for kind in circles for circle in circles[kind]]


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "circles"))
