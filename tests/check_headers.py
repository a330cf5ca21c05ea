#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone, twice in a row, and carries the guard its path implies."""
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import sources  # noqa: E402

LIBRARIES = ["libuv", "hiredis", "libpq", "sqlite3", "msgpack", "jansson", "jose", "openssl"]
FLAGS = ["-std=c17", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror",
         "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-D_GNU_SOURCE", "-x", "c"]


def library_flags():
    run = subprocess.run(["pkg-config", "--cflags", *LIBRARIES], stdout=subprocess.PIPE, check=True)
    return run.stdout.decode().split()


def guard_of(path):
    return re.sub(r"[^A-Z0-9]", "_", path.upper())


def check_guard(root, path):
    text = sources.read(root, path)
    guard = guard_of(path)
    if f"#ifndef {guard}\n#define {guard}\n" not in text:
        return f"{path}: the include guard must be {guard}"
    return None


def compile_alone(root, path, flags):
    unit = f'#include "{path}"\n#include "{path}"\nextern int {guard_of(path).lower()}_alone;\n'
    run = subprocess.run([shutil.which("gcc") or "cc", *FLAGS, "-I", root, *flags, "-"],
                         input=unit.encode(), stderr=subprocess.PIPE, check=False)
    if run.returncode != 0:
        return f"{path}: does not compile alone\n{run.stderr.decode(errors='replace')}"
    return None


def find_problems(root):
    headers = sources.list_files(root, ".h")
    flags = library_flags()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(lambda path: compile_alone(root, path, flags), headers))
    guards = [check_guard(root, path) for path in headers]
    return [problem for problem in guards + compiled if problem]


if __name__ == "__main__":
    sys.exit(sources.report(find_problems(sources.ROOT), "headers"))
