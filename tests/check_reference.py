#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/reference says what the tables say: `--write` puts their rows there, else they are compared.

A page is prose with regions, `<!-- NAME -->` to `<!-- /NAME -->`, that are written from a table.
A row without a text is a problem, whether it is in a region or wants a section of its own.
"""
import os
import re
import sys
import textwrap

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402
import tables  # noqa: E402

PAGES = "docs/reference/"
SIZES = [(1024 * 1024, "MiB"), (1024, "KiB"), (1, "")]
TIMES = [(86400000, "d"), (3600000, "h"), (60000, "m"), (1000, "s"), (1, "ms")]


COLUMNS = {"hub/config/config.def": 9, "hub/config/config_blocks.def": 8, "hub/node/metrics.def": 4,
           "hub/node/metrics_streams.def": 4, "actors/webhook_events.def": 3, "hub/config/alert_metric.def": 4,
           "hub/node/memory.def": 2, "actors/close.def": 5, "actors/user/user_events.def": 3,
           "codec/notification_fields.def": 5, "codec/errors.def": 5, "codec/server_events.def": 4}
PLAIN = {"SERVER_FAMILY"}  # macros of rows that are no part of a table


def read_rows(root, path):
    """The rows of a .def file; none where it does not exist."""
    if not os.path.exists(os.path.join(root, path)):
        return []
    found = [row for row in tables.rows(sources.read(root, path)) if row[0] not in PLAIN]
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
        return f"{least} to {most}" + (f" or {choice}" if choice else "")
    if kind in ("SIZE", "DURATION"):
        units = SIZES if kind == "SIZE" else TIMES
        return f"{quantity(least, units)} to {quantity(most, units)}" + (f" or {choice}" if choice else "")
    if kind == "LIST":
        return f"list of {least} to {most}" + (f": {choice}" if choice else "")
    return f"text, {least} to {most} bytes"


def setting_line(name, kind, fallback, least, most, words, prose, reload):
    line = [code(name), code(fallback) or "none", allowed(kind, int(least), int(most), words)]
    return line + ([reload] if reload is not None else []) + [cell(prose)]


def write_settings(root):
    """One table for each section of config.def, in its order."""
    sections = {}
    for _, row in read_rows(root, "hub/config/config.def"):
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
    for block, row in read_rows(root, "hub/config/config_blocks.def"):
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
    for _, row in read_rows(root, "hub/node/metrics.def"):
        kind = {"SECONDS": "gauge"}.get(row[2], row[2].lower())
        found.append((tables.literal(row[1]), kind, [], tables.literal(row[3])))
    for _, row in read_rows(root, "hub/node/metrics_streams.def"):
        found.append((tables.literal(row[1]), "gauge", ["stream"], tables.literal(row[3])))
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
        [code(row[0]), cell(tables.literal(row[1]))] for _, row in read_rows(root, "hub/node/memory.def")])


def write_alert_metrics(root):
    kinds = {"TIMES": "times", "COUNTER": "counts", "SHARE": "a share", "NUMBER": "a number", "SINCE": "a time"}
    return make_table(["metric", "of", "meaning"], [
        [code(tables.literal(row[1])), kinds[row[2]], cell(tables.literal(row[3]))]
        for _, row in read_rows(root, "hub/config/alert_metric.def")])


def write_closes(root):
    lines = []
    for _, row in read_rows(root, "actors/close.def"):
        _, name, number, final, text = row
        lines.append([code(tables.literal(name)), number if number != "0" else "",
                      "stays away" if final == "1" else "comes back", cell(tables.literal(text))])
    return make_table(["reason", "close code", "a client", "text"], lines)


def write_codes(root):
    lines = []
    for _, row in read_rows(root, "codec/errors.def"):
        _, name, status, others, text = row
        statuses = ", ".join(filter(None, [status, tables.literal(others)]))
        lines.append([code(tables.literal(name)), statuses, cell(tables.literal(text))])
    return make_table(["code", "HTTP", "meaning"], lines)


def write_events(root):
    """A section for each event of the hub: what it carries, then when it comes."""
    out = []
    for _, row in read_rows(root, "codec/server_events.def"):
        name, carries, text = (tables.literal(column) for column in row[1:])
        out += [f"### {name}", ""] + textwrap.wrap(f"{code(carries)}: {text}" if carries else text, 110,
                                                   break_long_words=False, break_on_hyphens=False) + [""]
    return out[:-1]


def write_webhook_events(root):
    return make_table(["event", "what has happened"], [
        [code(tables.literal(row[1])), cell(tables.literal(row[2]))]
        for _, row in read_rows(root, "actors/webhook_events.def")])


# --- what has a text of its own ---

def read_all(root, *folders):
    return {path: tables.without_comments(sources.read(root, path))
            for path in sources.list_files(root, ".c", ".h") if path.split("/")[0] in folders}


def no_macros(text):
    return re.sub(r"^[ \t]*#[^\n\\]*(?:\\\n[^\n\\]*)*", "", text, flags=re.MULTILINE)


def find_routes(root):
    found = set()
    for text in read_all(root, "hub").values():
        text = no_macros(text)
        found |= set(re.findall(r'\{"([A-Z]+|\*)", "(/[^"]*)"', text))
        found |= set(re.findall(r'\.method = "([A-Z]+|\*)",\s*\.path = "(/[^"]*)"', text))
        found |= {("GET", "/socket.io/" + name) for name in re.findall(r'\bROW\("([\w.]+)"\)', text)}
    return {f"{method} {path}" for method, path in found}


def find_parameters(root):
    """Route -> the parameters of its query, from the last column of its row."""
    found = {}
    for text in read_all(root, "hub").values():
        for method, path, row in re.findall(r'\{"([A-Z]+)", "(/[^"]*)",([^{}]*)\}', no_macros(text)):
            names = re.findall(r'"([^"]*)"', row)
            found[f"{method} {path}"] = names[-1].split(", ") if names and names[-1] else []
    return found


def find_untold_parameters(root):
    if not os.path.exists(os.path.join(root, PAGES, "routes.md")):
        return []
    told = WANTED[0][3](sources.read(root, PAGES + "routes.md"))
    return [f"{PAGES}routes.md: {route}: no text on the parameter {name}"
            for route, names in sorted(find_parameters(root).items())
            for name in names if name != "tenant" and route in told and f"`{name}`" not in told[route]]


def find_client_events(root):
    return {tables.literal(row[0]) for _, row in read_rows(root, "actors/user/user_events.def")}


def find_fields(root):
    return {tables.literal(row[1]) for _, row in read_rows(root, "codec/notification_fields.def")}


def sections(text):
    """Title of each ### section -> its text, of one ## part or of a whole page."""
    parts = re.split(r"^### (.+)$", re.sub(r"^## .*$", "### -", text, flags=re.MULTILINE), flags=re.MULTILINE)
    return {title: body.strip() for title, body in zip(parts[1::2], parts[2::2]) if title != "-"}


def part(text, title):
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def first_cells(text):
    return dict(re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE))


WANTED = [  # page, what has a text on it, the names in the source, the texts on the page, further ones
    ("routes.md", "route", find_routes,
     lambda text: {re.sub(r"\{\w+\}", "{}", title): body for title, body in sections(text).items()}, set()),
    ("events.md", "event from clients", find_client_events,
     lambda text: sections(part(text, "From clients")), {"Others", "auth:refresh", "hub:pong"}),
    ("posts.md", "field", find_fields, first_cells, set()),
]


def is_mentioned(route, text):
    """Files that are told of in the section of another: by path, or by name, maps with what they map."""
    path = route.split(" ")[-1]
    file = path.rsplit("/", 1)[-1]
    base = file[:-4] if file.endswith(".map") else file
    return any(f"`{one}`" in text or f"GET /socket.io/{one}\n" in text for one in (path, base) if "." in one)


def find_untold(root):
    """Names of the source without a text of their own, and texts about what is not there."""
    problems = []
    for page, what, names, texts, further in WANTED:
        if not os.path.exists(os.path.join(root, PAGES, page)):
            problems.append(f"{PAGES}{page}: missing")
            continue
        text = sources.read(root, PAGES + page)
        told = texts(text)
        there = names(root)
        for name in sorted(there):
            if not told.get(name, "").strip(" |") and not is_mentioned(name, text):
                problems.append(f"{PAGES}{page}: {what} {name}: no text says what it is")
        problems += [f"{PAGES}{page}: {what} {name}: the source has none of that name"
                     for name in sorted(set(told) - there - further)]
    return problems


# --- pages ---

REGIONS = {
    "alerts.md": {"alert-metrics": write_alert_metrics},
    "events.md": {"events": write_events},
    "errors.md": {"codes": write_codes, "closes": write_closes},
    "settings.md": {"settings": write_settings, "blocks": write_blocks},
    "webhooks.md": {"webhook_events": write_webhook_events},
    "metrics.md": {"metrics": write_metrics, "memory": write_memory, "closes": write_closes},
}
TEXTS = [  # tables whose rows must say what they mean: file, place of the name, place of the text
    ("hub/config/config.def", 2, 8), ("hub/config/config_blocks.def", 1, 7), ("hub/node/metrics.def", 1, 3),
    ("hub/node/metrics_streams.def", 1, 3),
    ("hub/node/memory.def", 0, 1), ("actors/close.def", 1, 4), ("codec/errors.def", 1, 4),
    ("codec/server_events.def", 1, 3), ("actors/webhook_events.def", 1, 2), ("hub/config/alert_metric.def", 1, 3),
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
    problems += find_untold(root) + find_untold_parameters(root)
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
