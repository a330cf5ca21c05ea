#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Functions, files, parameter lists and nesting stay within their limits.

Exceptions stand in size_allowed.txt, each with a reason; one that is no longer needed is an
error too, so the list can only shrink.
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402
import symbols  # noqa: E402

LIMITS = {"lines": 80, "source": 700, "header": 300, "parameters": 6, "nesting": 4,
          "complexity": 15}
DECISIONS = re.compile(r"\b(?:if|for|while|switch|\w*_for_each\w*)\b|&&|\|\||\?")
LOOP_OR_BRANCH = re.compile(r"\b(?:if|for|while|switch|\w*for_each\w*)$")


def count_parameters(signature):
    inner = signature.strip()[1:-1].strip()
    if inner in ("", "void"):
        return 0
    depth = count = 0
    for char in inner:
        depth += (char in "([{") - (char in ")]}")
        count += char == "," and depth == 0
    return count + 1


def measure_nesting(body):
    """How deep control blocks stand in a function body (its own braces are depth 0)."""
    blocks, parens, deepest, last_word = [], [], 0, ";"
    for match in re.finditer(r"[A-Za-z_]\w*|[(){};=,:]", body):
        token = match.group()
        if token == "(":
            parens.append(last_word)
        elif token == ")":
            closed = parens.pop() if parens else ""
            last_word = ")" if LOOP_OR_BRANCH.search(closed) else ""
            continue
        elif token == "{":
            in_block = not blocks or blocks[-1]
            blocks.append(last_word in (")", "else", "do")
                          or (in_block and last_word in (";", "{", "}")))
            deepest = max(deepest, sum(blocks))
        elif token == "}":
            if blocks:
                blocks.pop()
        last_word = token
    return max(deepest - 1, 0)


def list_functions(root, path):
    command = ["ctags", "--languages=C", "--langmap=C:.c.h", "--kinds-C=fp", "--fields=+neS",
               "--output-format=json", "-f", "-", os.path.join(root, path)]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in run.stdout.decode().splitlines() if line.strip()]


def measure_function(tag, lines):
    """Limit name -> measured, for one function or prototype."""
    sizes = {"parameters": count_parameters(tag.get("signature", "()"))}
    if tag["kind"] == "function" and "end" in tag:
        body = "\n".join(lines[tag["line"] - 1:tag["end"]])
        body = body[body.find("{"):] if "{" in body else ""
        sizes["lines"] = tag["end"] - tag["line"] + 1
        sizes["nesting"] = measure_nesting(body)
        sizes["complexity"] = 1 + len(DECISIONS.findall(body))
    return sizes


def measure_file(root, path):
    """Yield (place, limit name, measured)."""
    text = sources.read(root, path)
    lines = symbols.strip_noise(text).split("\n")
    yield path, "header" if path.endswith(".h") else "source", text.count("\n")
    for tag in list_functions(root, path):
        for name, measured in measure_function(tag, lines).items():
            yield f"{path}:{tag['name']}", name, measured


def read_allowed(root):
    allowed, problems = {}, []
    path = "tests/size_allowed.txt"
    if not os.path.exists(os.path.join(root, path)):
        return allowed, problems
    for line in sources.read(root, path).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(None, 2)
        if len(words) < 3 or words[1] not in LIMITS:
            problems.append(f"{path}: no limit name or no reason: {line}")
        else:
            allowed[(words[0], words[1])] = words[2]
    return allowed, problems


def find_problems(root):
    allowed, problems = read_allowed(root)
    used = set()
    for path in sources.list_files(root, ".c", ".h"):
        for place, name, measured in measure_file(root, path):
            if measured <= LIMITS[name]:
                continue
            if (place, name) in allowed:
                used.add((place, name))
            else:
                problems.append(f"{place}: {name} {measured}, at most {LIMITS[name]}")
    problems += [f"tests/size_allowed.txt: {place} {name} is within its limit: remove the line"
                 for place, name in sorted(set(allowed) - used)]
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "sizes"))
