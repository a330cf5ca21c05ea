#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point only where the design allows: down the arrows, and third-party headers home."""
import os
import re
import sys
from fnmatch import fnmatch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

# Folder -> what it may include of ours.
ARROWS = {
    "codec": ["codec/*"],
    "sql": ["sql/*", "codec/*"],
    "actors": ["actors/*", "codec/*", "sql/store.h"],
    "hub": ["hub/*", "actors/*", "sql/*", "codec/*"],
    "tests": ["*"],
    "clients": ["clients/*"],
}

# Library, header patterns, homes: pattern of files -> how many .c files may include it there.
MANY = 1000
THIRD_PARTY = [
    ("libuv", ["uv.h", "uv/*"], {"hub/*": MANY, "sql/*": 1}),
    ("wslay", ["wslay/*"], {"hub/*": 1}),
    ("hiredis", ["hiredis/*", "hiredis.h", "read.h", "sds.h"], {"hub/*": 1}),
    ("OpenSSL", ["openssl/*"], {"hub/*": 1}),
    ("libjose", ["jose/*"], {"hub/*": 1}),
    ("libconfuse", ["confuse.h"], {"hub/*": 1}),
    ("libpq", ["libpq-fe.h", "libpq/*", "postgresql/*", "pg_config*.h"], {"sql/pg*": MANY}),
    ("SQLite", ["sqlite3.h"], {"sql/sqlite*": MANY}),
    ("msgpack-c", ["msgpack.h", "msgpack/*"], {"codec/*": 1}),
    ("jansson", ["jansson.h"], {"codec/*": 1, "hub/*": 1}),
    ("zlib", ["zlib.h"], {"codec/slot.c": 1, "codec/ws_deflate.c": 1, "hub/*": 1}),
    ("xxHash", ["xxhash.h"], {"codec/*": 1}),
]

# The only third-party headers that headers of ours may include.
IN_HEADERS = [("uv.h", "hub/*.h"), ("libpq-fe.h", "sql/pg*.h"), ("sqlite3.h", "sql/sqlite*.h")]

SYSTEM = set("""
assert ctype dirent dlfcn endian errno execinfo fcntl fenv float getopt glob grp ifaddrs inttypes
iso646 limits locale malloc math netdb poll pthread pwd regex sched semaphore setjmp signal
stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings syslog
termios threads time unistd wchar
""".split())
SYSTEM_FOLDERS = ("arpa/", "linux/", "net/", "netinet/", "sys/", "sanitizer/")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def library_of(header):
    for name, patterns, homes in THIRD_PARTY:
        if any(fnmatch(header, pattern) for pattern in patterns):
            return name, homes
    return None, None


def is_system(header):
    return header.startswith(SYSTEM_FOLDERS) or header.removesuffix(".h") in SYSTEM


def check_ours(path, header, exists):
    """One include of ours; returns the complaint or None."""
    folder = path.split("/")[0]
    if "/" not in header or header.startswith(".") or not exists(header):
        return f'{path}: "{header}" is not a path from the root'
    if not any(fnmatch(header, allowed) for allowed in ARROWS[folder]):
        return f'{path}: "{header}" points against the arrows of {folder}/'
    return None


def check_foreign(path, header, users):
    """One <include>; records who uses which library."""
    if path.startswith("tests/") or is_system(header):
        return None
    name, homes = library_of(header)
    if name is None:
        return f"{path}: <{header}> has no home (add it to check_arrows.py with one)"
    home = next((pattern for pattern in homes if fnmatch(path, pattern)), None)
    if home is None:
        return f"{path}: <{header}> ({name}) may be included only in {', '.join(homes)}"
    if path.endswith(".h"):
        if not any(fnmatch(header, h) and fnmatch(path, p) for h, p in IN_HEADERS):
            return f"{path}: a header of ours includes <{header}>"
    else:
        users.setdefault((name, home), set()).add(path)
    return None


def is_neighbour(path, kind, header):
    return kind == '"' and os.path.dirname(header) == os.path.dirname(path)


def check_order(path, includes):
    """Own header, then system, then ours, each group sorted."""
    own = path.removesuffix(".c") + ".h"
    rest = [(kind, name) for kind, name in includes if not name.endswith(".def")]
    if path.endswith(".c") and ('"', own) in rest:
        if rest[0] != ('"', own):
            return f"{path}: its own header must be included first"
        rest = rest[1:]
    elif path.endswith(".c") and rest and is_neighbour(path, *rest[0]):
        rest = rest[1:]  # a part of a module begins with the header the parts share
    kinds = [kind for kind, _ in rest]
    if kinds != sorted(kinds, key=lambda kind: kind == '"'):
        return f"{path}: system headers come before ours"
    for kind in '<"':
        group = [name for k, name in rest if k == kind]
        if group != sorted(group):
            return f"{path}: includes are not sorted: {' '.join(group)}"
    return None


def find_problems(root):
    problems, users = [], {}

    def exists(header):
        return os.path.isfile(os.path.join(root, header))

    for path in sources.list_files(root, ".c", ".h", ".def"):
        if path.split("/")[0] not in ARROWS:
            problems.append(f"{path}: C source outside the known folders")
            continue
        includes = INCLUDE.findall(sources.read(root, path))
        for kind, header in includes:
            if kind == '"':
                problems.append(check_ours(path, header, exists))
            else:
                problems.append(check_foreign(path, header, users))
        problems.append(check_order(path, includes))
    limits = {(name, home): limit for name, _, homes in THIRD_PARTY for home, limit in homes.items()}
    for key, paths in sorted(users.items()):
        if len(paths) > limits[key]:
            problems.append(f"{key[0]} has one home in {key[1]}, but: {', '.join(sorted(paths))}")
    return [problem for problem in problems if problem]


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "arrows"))
