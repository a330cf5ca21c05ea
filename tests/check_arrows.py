#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point only where the design allows: down the arrows, and third-party headers home.

Inside actors/ and hub/ a file includes headers of its own folder and of earlier ones of FLOORS. What still points up
is a line of arrows_allowed.txt, `file header`; a line that is no longer needed must go, so the list can only shrink.
"""
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

# The folders of a floor, from the ground up.
FLOORS = {
    "actors": ["actors/core", "actors", "actors/deliver", "actors/order", "actors/rooms", "actors/recover",
               "actors/history", "actors/inbox", "actors/jobs", "actors/ingest", "actors/values", "actors/presence", "actors/user",
               "actors/assembly"],
    "hub": ["hub/net", "hub/config", "hub/redis", "hub/auth", "hub/hooks", "hub/alerts", "hub/series", "hub/push", "hub/outbox", "hub/session", "hub/cluster", "hub/api", "hub/node",
            "hub/cli"],
}
ALLOWED = "tests/arrows_allowed.txt"

# Library, header patterns, homes: pattern of files -> how many .c files may include it there.
MANY = 1000
THIRD_PARTY = [
    ("libuv", ["uv.h", "uv/*"], {"hub/*": MANY, "sql/*": 1}),
    ("wslay", ["wslay/*"], {"hub/*": 1}),
    ("hiredis", ["hiredis/*", "hiredis.h", "read.h", "sds.h"], {"hub/*": 1}),
    ("OpenSSL", ["openssl/*"], {"hub/net/crypto*.c": 2, "hub/net/tls_*.c": 2}),
    ("libjose", ["jose/*"], {"hub/*": 1}),
    ("libconfuse", ["confuse.h"], {"hub/*": 1}),
    ("libcurl", ["curl/*"], {"hub/cli/*": 1, "hub/net/*": 1}),
    ("libpq", ["libpq-fe.h", "libpq/*", "postgresql/*", "pg_config*.h"], {"sql/pg*": MANY}),
    ("SQLite", ["sqlite3.h"], {"sql/sqlite*": MANY}),
    ("msgpack-c", ["msgpack.h", "msgpack/*"], {"codec/*": 1}),
    ("jansson", ["jansson.h"], {"codec/*": 1, "hub/*": 1}),
    ("zlib", ["zlib.h"], {"codec/slot.c": 1, "codec/ws_deflate.c": 1, "codec/zip.c": 1, "hub/*": 1}),
    ("utf8proc", ["utf8proc.h"], {"codec/search.c": 1}),
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


def read_allowed(root):
    """The pairs (file, header) that may still point up."""
    if not os.path.exists(os.path.join(root, ALLOWED)):
        return set()
    lines = (line.split() for line in sources.read(root, ALLOWED).splitlines() if not line.startswith("#"))
    return {tuple(words) for words in lines if words}


def check_floor(path, header, allowed, needed):
    """Where the folders of a floor stand; takes a pair that is allowed into `needed`."""
    order = FLOORS.get(path.split("/")[0], [])
    ends = os.path.dirname(path), os.path.dirname(header)
    if not order or not header.startswith(path.split("/")[0] + "/") or not all(end in order for end in ends):
        return None
    if order.index(ends[0]) >= order.index(ends[1]):
        return None
    if (path, header) in allowed:
        needed.add((path, header))
        return None
    return f'{path}: "{header}" points up, from {ends[0]}/ to {ends[1]}/'


def check_folder(path):
    """A C file lies in a folder that is known."""
    top = path.split("/")[0]
    if top not in ARROWS:
        return f"{path}: C source outside the known folders"
    if os.path.dirname(path) not in FLOORS.get(top, [os.path.dirname(path)]):
        return f"{path}: {os.path.dirname(path)}/ has no place in FLOORS of check_arrows.py"
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
    problems, users, allowed, needed = [], {}, read_allowed(root), set()

    def exists(header):
        return os.path.isfile(os.path.join(root, header))

    for path in sources.list_files(root, ".c", ".h", ".def"):
        problems.append(check_folder(path))
        if problems[-1]:
            continue
        includes = INCLUDE.findall(sources.read(root, path))
        for kind, header in includes:
            if kind == '"':
                problems.append(check_ours(path, header, exists))
                problems.append(check_floor(path, header, allowed, needed))
            else:
                problems.append(check_foreign(path, header, users))
        problems.append(check_order(path, includes))
    limits = {(name, home): limit for name, _, homes in THIRD_PARTY for home, limit in homes.items()}
    for key, paths in sorted(users.items()):
        if len(paths) > limits[key]:
            problems.append(f"{key[0]} has one home in {key[1]}, but: {', '.join(sorted(paths))}")
    problems += [f"{ALLOWED}: {' '.join(pair)}: not needed any more: take it out" for pair in sorted(allowed - needed)]
    return [problem for problem in problems if problem]


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "arrows"))
