#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A built program is hardened: PIE, full RELRO, no executable stack, stack protector, FORTIFY."""
import re
import subprocess
import sys


def read_elf(program, *options):
    return subprocess.run(["readelf", "--wide", *options, program], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def find_problems(head, segments, dynamic, symbols):
    """What is missing; the arguments are what readelf prints."""
    problems = []
    if not re.search(r"Type:\s+DYN", head):
        problems.append("not position independent")
    if "GNU_RELRO" not in segments:
        problems.append("no RELRO")
    if not re.search(r"BIND_NOW|\bNOW\b", dynamic):
        problems.append("symbols are bound lazily: RELRO is partial")
    if re.search(r"GNU_STACK.*\bRWE\b", segments) or "GNU_STACK" not in segments:
        problems.append("the stack is executable")
    if "__stack_chk_fail" not in symbols:
        problems.append("no stack protector")
    if not re.search(r"__(memcpy|snprintf|vsnprintf|memmove)_chk", symbols):
        problems.append("no FORTIFY_SOURCE")
    return problems


def main():
    failed = False
    for program in sys.argv[1:]:
        problems = find_problems(*(read_elf(program, option) for option in (
            "--file-header", "--segments", "--dynamic", "--dyn-syms")))
        failed = failed or bool(problems)
        for problem in problems:
            print(f"{program}: {problem}")
    return 1 if failed or len(sys.argv) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
