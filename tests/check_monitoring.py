#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The board and the rules of docs/monitoring ask for metrics that there are, with labels that they have."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

FOLDER = "docs/monitoring/"
BOARD = FOLDER + "peal-board.json"
RULES = FOLDER + "peal-rules.yml"
ROW = re.compile(r"^\| `(peal_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
NAME = re.compile(r"\b(peal_\w+)(?:\{([^}]*)\})?")
ALWAYS = {"job", "instance"}  # Prometheus gives these to all


def metrics(root):
    """Name -> labels, of those a hub shows; a histogram by its series."""
    found = {}
    for name, kind, labels in ROW.findall(sources.read(root, "docs/reference/metrics.md")):
        names = [name + end for end in ("_bucket", "_sum", "_count")] if kind == "histogram" else [name]
        found.update({one: set(re.findall(r"`(\w+)`", labels)) for one in names})
    return found


def check_expression(text, known):
    problems = []
    for name, matchers in NAME.findall(text):
        if name not in known:
            problems.append(f"no metric {name}")
            continue
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            if label not in known[name] | ALWAYS:
                problems.append(f"{name} has no label {label}")
    if text.count("(") != text.count(")") or not NAME.search(text) and "up{" not in text:
        problems.append(f"no expression: {text[:60]}")
    return problems


def check_board(board):
    """What a board needs for Grafana to show it."""
    problems = [f"no {key}" for key in ("title", "uid", "schemaVersion", "panels", "templating", "time") if key not in board]
    panels = board.get("panels", [])
    ids = [panel.get("id") for panel in panels]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    problems += ["two panels with one id"] if len(set(ids)) != len(ids) else []
    problems += ["two panels in one place"] if len(set(places)) != len(places) else []
    variables = {one["name"] for one in board.get("templating", {}).get("list", [])}
    for panel in panels:
        used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(panel)))
        problems += [f"{panel['title']}: no variable {name}" for name in sorted(used - variables) if not name.startswith("__")]
        problems += [f"{panel['title']}: nothing to show"] if not panel.get("targets") else []
    return problems


def expressions_of_rules(text):
    """The expressions of the file, also over several lines; so that no reader of YAML is needed."""
    found = []
    for block in re.split(r"^ {6}- alert: ", text, flags=re.MULTILINE)[1:]:
        inside = re.search(r"^ {8}expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", block, re.MULTILINE)
        found.append((block.split("\n")[0], " ".join((inside[1] or inside[2]).split()) if inside else ""))
    return found


def find_problems(root):
    if not os.path.exists(os.path.join(root, BOARD)):
        return []
    known = metrics(root)
    board = json.loads(sources.read(root, BOARD))
    problems = [f"{BOARD}: {problem}" for problem in check_board(board)]
    for panel in board.get("panels", []):
        for target in panel.get("targets", []):
            problems += [f"{BOARD}: {panel['title']}: {problem}" for problem in check_expression(target["expr"], known)]
    rules = expressions_of_rules(sources.read(root, RULES))
    problems += [] if rules else [f"{RULES}: no rules"]
    for name, expression in rules:
        problems += [f"{RULES}: {name}: {problem}" for problem in check_expression(expression, known)]
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "monitoring"))
