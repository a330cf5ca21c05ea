# SPDX-License-Identifier: Apache-2.0
"""Tables of the C source (.def files, arrays, calls) read as rows of arguments."""
import re

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', re.DOTALL)
_LITERALS = re.compile(r'(?:"(?:\\.|[^"\\])*"\s*)+')
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_OPEN, _CLOSE = "([{", ")]}"


def without_comments(text):
    """The text with comments replaced by spaces; what stands in quotes stays."""
    def keep(found):
        return " " if found[0].startswith("/") else found[0]
    return _TOKEN.sub(keep, text)


def split_arguments(text, start):
    """The arguments of the bracket that opens at `start`, and where it ends."""
    arguments, depth, begin, at = [], 0, start + 1, start
    while at < len(text):
        quoted = _TOKEN.match(text, at)
        if quoted:
            at = quoted.end()
            continue
        if text[at] in _OPEN:
            depth += 1
        elif text[at] in _CLOSE:
            depth -= 1
        if depth == 0 or (depth == 1 and text[at] == ","):
            arguments.append(text[begin:at].strip())
            begin = at + 1
        if depth == 0:
            return arguments, at + 1
        at += 1
    return arguments, at


def literal(argument):
    """The text of string literals that stand side by side; None for anything else."""
    if not _LITERALS.fullmatch(argument):
        return None
    parts = re.findall(r'"((?:\\.|[^"\\])*)"', argument)
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), "".join(parts))


def rows(text, begin=r"^([A-Z][A-Z_]*)\("):
    """(name, arguments) of every match of `begin`, whose last character opens the arguments."""
    text = without_comments(text)
    text = re.sub(r"^[ \t]*#[^\n\\]*(?:\\\n[^\n\\]*)*", "", text, flags=re.MULTILINE)
    for found in re.finditer(begin, text, re.MULTILINE):
        name = found[1] if found.lastindex else ""
        yield name, split_arguments(text, found.end() - 1)[0]
