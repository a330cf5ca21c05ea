#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/reference says what the tables say: `--write` puts their rows there, else they are compared.

A page is prose with regions, `<!-- NAME -->` to `<!-- /NAME -->`, that are written from a table.
A row without a text is a problem, whether it is in a region or wants a section of its own.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402
import tables  # noqa: E402

PAGES = "docs/reference/"
SIZES = [(1024 * 1024, "MiB"), (1024, "KiB"), (1, "")]
TIMES = [(86400000, "d"), (3600000, "h"), (60000, "m"), (1000, "s"), (1, "ms")]


COLUMNS = {"hub/config.def": 9, "hub/config_blocks.def": 8, "hub/metrics.def": 4,
           "hub/memory.def": 2, "actors/close.def": 5}


def read_rows(root, path):
    """The rows of a .def file; none where it does not exist."""
    if not os.path.exists(os.path.join(root, path)):
        return []
    found = list(tables.rows(sources.read(root, path)))
    for name, row in found:
        if len(row) != COLUMNS[path]:
            sys.exit(f"{path}: {name}({', '.join(row)[:60]}…) has {len(row)} columns, "
                     f"tests/check_reference.py knows {COLUMNS[path]}: teach it the new one")
    return found


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def code(text):
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def make_table(head, lines):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + \
           ["| " + " | ".join(line) + " |" for line in lines]


# --- settings ---

def quantity(value, units):
    if value == 0:
        return "0"
    factor, unit = next(one for one in units if value % one[0] == 0)
    return f"{value // factor}{unit}"


def allowed(kind, least, most, words):
    choice = " or ".join(code(word) for word in words.split("|")) if words else ""
    if kind == "BOOL":
        return "`on` or `off`"
    if kind == "CHOICE":
        return choice
    if kind == "INT":
        return f"{least} to {most}"
    if kind in ("SIZE", "DURATION"):
        units = SIZES if kind == "SIZE" else TIMES
        return f"{quantity(least, units)} to {quantity(most, units)}"
    if kind == "LIST":
        return f"list of {least} to {most}" + (f": {choice}" if choice else "")
    return f"text, {least} to {most} bytes"


def setting_line(name, kind, fallback, least, most, words, prose, reload):
    line = [code(name), code(fallback) or "none", allowed(kind, int(least), int(most), words)]
    return line + ([reload] if reload is not None else []) + [cell(prose)]


def write_settings(root):
    """One table for each section of config.def, in its order."""
    sections = {}
    for _, row in read_rows(root, "hub/config.def"):
        kind, _, key, fallback, least, most, words, reload, prose = row
        key = tables.literal(key)
        section = key.split(".")[0] if "." in key else "without a section"
        sections.setdefault(section, []).append(setting_line(
            key, kind, tables.literal(fallback), least, most, tables.literal(words),
            tables.literal(prose), "yes" if reload == "RELOAD" else ""))
    out = []
    for section, lines in sections.items():
        out += ["", f"### {section}", ""]
        out += make_table(["setting", "default", "allowed", "HUP", "meaning"], lines)
    return out[1:]


def write_blocks(root):
    blocks = {}
    for block, row in read_rows(root, "hub/config_blocks.def"):
        kind, option, _, fallback, least, most, words, prose = row
        blocks.setdefault(block.lower(), []).append(setting_line(
            option, kind, tables.literal(fallback), least, most, tables.literal(words),
            tables.literal(prose), None))
    out = []
    for block, lines in blocks.items():
        out += ["", f"### {block}", ""] + make_table(["option", "default", "allowed", "meaning"], lines)
    return out[1:]


# --- metrics ---

def labels_of(name, text):
    found = re.search(r"\b" + name + r"(?:_bucket)?\{([^\n]*)", text)
    return re.findall(r'(\w+)=\\"', found[1]) if found else []


def metrics(root):
    """(name, kind, labels, help) of every metric, from metrics.def and from the calls in hub/."""
    found = []
    for _, row in read_rows(root, "hub/metrics.def"):
        found.append((tables.literal(row[1]), row[2].lower(), [], tables.literal(row[3])))
    for path in sources.list_files(root, ".c"):
        if path.startswith("hub/"):
            text = sources.read(root, path)
            for _, row in tables.rows(text, r"^\s+(?:metrics_)?(?:begin|write_\w+)\("):
                name, kind, prose = ((tables.literal(x) for x in row[1:4]) if len(row) > 3
                                     else (None, None, None))
                if name and kind in ("counter", "gauge", "histogram"):
                    found.append((name, kind, labels_of(name, text), prose))
    return sorted(found)


def write_metrics(root):
    return make_table(["metric", "kind", "labels", "meaning"], [
        [code("peal_" + name), kind, ", ".join(code(label) for label in labels), cell(prose)]
        for name, kind, labels, prose in metrics(root)])


def write_memory(root):
    return make_table(["owner", "what is in it"], [
        [code(row[0]), cell(tables.literal(row[1]))] for _, row in read_rows(root, "hub/memory.def")])


def write_closes(root):
    lines = []
    for _, row in read_rows(root, "actors/close.def"):
        _, name, number, final, text = row
        lines.append([code(tables.literal(name)), number if number != "0" else "",
                      "stays away" if final == "1" else "comes back", cell(tables.literal(text))])
    return make_table(["reason", "close code", "a client", "text"], lines)


# --- pages ---

REGIONS = {
    "settings.md": {"settings": write_settings, "blocks": write_blocks},
    "metrics.md": {"metrics": write_metrics, "memory": write_memory, "closes": write_closes},
}
TEXTS = [  # tables whose rows must say what they mean: file, place of the name, place of the text
    ("hub/config.def", 2, 8), ("hub/config_blocks.def", 1, 7), ("hub/metrics.def", 1, 3),
    ("hub/memory.def", 0, 1), ("actors/close.def", 1, 4),
]


def find_silent(root):
    """Rows without a text."""
    problems = []
    for path, name, text in TEXTS:
        for _, row in read_rows(root, path):
            if not (tables.literal(row[text]) or "").strip():
                problems.append(f"{path}: {row[name]}: no text says what it means")
    return problems


def fill(root, page, text):
    """The page with its regions made anew, and what is wrong with it."""
    problems = []
    for name, write in REGIONS[page].items():
        region = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not region.search(text):
            problems.append(f"{PAGES}{page}: no region {name}")
            continue
        body = "\n".join([""] + write(root) + ["", ""])
        text = region.sub(lambda found, body=body: found[1] + body + found[2], text)
    return text, problems


def find_problems(root, write=False):
    problems = find_silent(root)
    if problems:
        return problems
    for page in REGIONS:
        path = os.path.join(root, PAGES, page)
        if not os.path.exists(path):
            problems.append(f"{PAGES}{page}: missing")
            continue
        old = sources.read(root, PAGES + page)
        new, wrong = fill(root, page, old)
        problems += wrong
        if new != old and write:
            with open(path, "w", encoding="utf-8") as file:
                file.write(new)
        elif new != old:
            problems.append(f"{PAGES}{page}: not what the tables say; run ./dev docs and commit it")
    return problems


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT, "--write" in sys.argv[1:]), "reference"))
