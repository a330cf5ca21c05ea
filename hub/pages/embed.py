#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write files as a C table of pages: embed.py OUTPUT PATH=FILE...; PATH is what is asked for."""
import hashlib
import os
import sys

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def array(name, content):
    """Return content as a C array of bytes: a literal may be no longer than 4095."""
    numbers = ["%d," % byte for byte in content]
    lines = [" ".join(numbers[i:i + 20]) for i in range(0, len(numbers), 20)]
    return "static const unsigned char %s[] = {\n    %s\n};\n\n" % (name, "\n    ".join(lines))


def main():
    arrays, rows = [], []
    for number, argument in enumerate(sys.argv[2:]):
        path, _, name = argument.partition("=")
        kind = TYPES.get(os.path.splitext(name)[1])
        if not path.startswith("/") or kind is None:
            sys.exit("%s: not PATH=FILE with one of %s" % (argument, ", ".join(sorted(TYPES))))
        with open(name, "rb") as file:
            content = file.read()
        etag = hashlib.sha256(content).hexdigest()[:32]
        arrays.append(array("body_%d" % number, content))
        rows.append('    {"%s", "%s",\n        "\\"%s\\"",\n'
                    "        {(const char *)body_%d, sizeof(body_%d)}},\n"
                    % (path, kind, etag, number, number))
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("/* Made by embed.py. */\n#include \"hub/node/pages.h\"\n\n")
        file.write("".join(arrays))
        file.write("const struct page pages[] = {\n%s};\n" % "".join(rows))
        file.write("const size_t page_count = sizeof(pages) / sizeof(pages[0]);\n")


if __name__ == "__main__":
    main()
