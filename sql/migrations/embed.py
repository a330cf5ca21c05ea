#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the migrations as C arrays: embed.py OUTPUT FILE...; the order of FILE is free."""
import hashlib
import os
import re
import sys

ENGINES = ("pg", "sqlite")
NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.(pg|sqlite)\.sql$")


def array(name, text):
    """Return text as a C array of bytes: a literal may be no longer than 4095."""
    numbers = ["%d," % byte for byte in text.encode()] + ["0"]
    lines = [" ".join(numbers[i:i + 20]) for i in range(0, len(numbers), 20)]
    return "static const char %s[] = {\n    %s\n};\n" % (name, "\n    ".join(lines))


def main():
    output, paths = sys.argv[1], sys.argv[2:]
    rows = {engine: {} for engine in ENGINES}
    for path in paths:
        match = NAME.match(os.path.basename(path))
        if not match:
            sys.exit("%s: not NNNN_name.{pg,sqlite}.sql" % path)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        number, name, engine = int(match.group(1)), match.group(2), match.group(3)
        if number in rows[engine]:
            sys.exit("%s: number %d is taken" % (path, number))
        rows[engine][number] = (name, hashlib.sha256(text.encode()).hexdigest(), text)
    names = {engine: [(n, row[0]) for n, row in sorted(rows[engine].items())] for engine in ENGINES}
    if names["pg"] != names["sqlite"]:
        sys.exit("the engines do not have the same migrations")
    if [n for n, _ in names["pg"]] != list(range(1, len(names["pg"]) + 1)):
        sys.exit("the migrations are not numbered 1, 2, 3 ...")
    with open(output, "w", encoding="utf-8") as file:
        file.write('/* Made by embed.py from the files in sql/migrations. */\n')
        file.write('#include "sql/migrate.h"\n')
        for engine in ENGINES:
            for number, (_, _, text) in sorted(rows[engine].items()):
                file.write("\n" + array("text_%s_%d" % (engine, number), text))
            file.write("\nconst struct migration migrations_%s[] = {\n" % engine)
            for number, (name, checksum, _) in sorted(rows[engine].items()):
                file.write('    {%d, "%s",\n        "%s",\n        text_%s_%d},\n' % (
                    number, name, checksum, engine, number))
            file.write("};\n")
        file.write("\nconst size_t migrations_count = %d;\n" % len(rows["pg"]))


if __name__ == "__main__":
    main()
