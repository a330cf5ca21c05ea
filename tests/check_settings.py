#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every setting does something, and what SIGHUP may change is not read from the start's values.

A row of config.def or config_blocks.def must be read by a file of hub/ that is not part of the
loading itself; `hub->config` holds the settings of the start, so only FIXED rows may be read there.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

ROW = re.compile(r'^X\(\w+, (\w+), "([\w.]+)",.*?\b(RELOAD|FIXED),\s', re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"^([A-Z]+_?[A-Z]+)\((\w+), (\w+), (\w+),", re.MULTILINE)
STARTED = re.compile(r"\bhub->config->(\w+)")


def readers(root):
    """The text of every file that may put a setting to work."""
    return {path: sources.read(root, path) for path in sources.list_files(root, ".c")
            if path.startswith("hub/") and not os.path.basename(path).startswith("config")}


def find_problems(root):
    problems = []
    texts = readers(root)
    everything = "\n".join(texts.values())
    used = set(re.findall(r"(?:->|\.)(\w+)", everything))
    kinds = {}
    if os.path.exists(os.path.join(root, "hub/config/config.def")):
        for member, key, kind in ROW.findall(sources.read(root, "hub/config/config.def")):
            kinds[member] = kind
            if member not in used:
                problems.append(f"hub/config/config.def: {key}: nothing reads it")
    if os.path.exists(os.path.join(root, "hub/config/config_blocks.def")):
        for block, _, option, member in OPTION.findall(sources.read(root, "hub/config/config_blocks.def")):
            if member not in used:
                problems.append(f"hub/config/config_blocks.def: {block.lower()} {option}: nothing reads it")
    for path, text in sorted(texts.items()):
        for member in STARTED.findall(text):
            if kinds.get(member) == "RELOAD" and path != "hub/node/dev.c":
                problems.append(f"{path}: hub->config->{member}: SIGHUP changes it, ask the shard's settings")
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "settings"))
