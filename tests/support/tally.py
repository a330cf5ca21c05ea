#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Count what passed, failed and was skipped, over all kinds of tests.

usage: tally.py RESULTS COMMAND …
  add NAME PASSED FAILED SKIPPED     append one row
  meson LABEL TESTLOG.json CODE      append a row per meson test
  logs FOLDER                        append a failure per sanitizer log, and print it
  sum                                print the failed rows and the total; exit 1 on a failure
"""
import json
import os
import re
import sys

SYNTHESIS = re.compile(r"Synthesis: Tested: \d+ \| Passing: (\d+) \| Failing: (\d+) \| "
                       r"Crashing: (\d+)")
COUNTED = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
SKIPPED = re.compile(r"^\[SKIP\]", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PASSED_RESULTS = {"OK", "EXPECTEDFAIL"}


def append(results, name, passed, failed, skipped):
    with open(results, "a", encoding="utf-8") as file:
        file.write(f"{passed}\t{failed}\t{skipped}\t{name}\n")


def count_output(text):
    """The counts a program printed itself: Criterion's synthesis or our own line; or None."""
    found = SYNTHESIS.findall(text)
    if found:
        passed, failing, crashing = map(int, found[-1])
        return passed, failing + crashing, len(SKIPPED.findall(text))
    found = COUNTED.findall(text)
    return tuple(map(int, found[-1])) if found else None


def count_meson(entry):
    """Counts of one line of meson's testlog.json."""
    text = COLOUR.sub("", (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or ""))
    counts = count_output(text)
    result = entry["result"]
    if result in PASSED_RESULTS:
        return counts or (1, 0, 0)
    if result == "SKIP":
        return 0, 0, 1
    passed, failed, skipped = counts or (0, 0, 0)
    return passed, max(failed, 1), skipped


def add_meson(results, label, log, code):
    entries = []
    if os.path.exists(log):
        with open(log, encoding="utf-8") as file:
            entries = [json.loads(line) for line in file if line.strip()]
    failures = 0
    for entry in entries:
        counts = count_meson(entry)
        failures += counts[1]
        append(results, f"{label}: {entry['name']}", *counts)
    if code != 0 and failures == 0:
        append(results, f"{label}: meson test ended with {code}", 0, 1, 0)


def count_tap(path, code):
    """Counts of what one file of client tests printed, which ended with `code`."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    totals = {key: int(value) for key, value in
              re.findall(r"^# (pass|fail|cancelled|skipped|todo) (\d+)$", text, re.MULTILINE)}
    failed = totals.get("fail", 0) + totals.get("cancelled", 0)
    if code != 0 or not sum(totals.values()):
        failed = max(failed, 1)
    return totals.get("pass", 0), failed, totals.get("skipped", 0) + totals.get("todo", 0)


def add_logs(results, folder):
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        with open(path, encoding="utf-8", errors="replace") as file:
            print(f"---- {path}\n{file.read(8000)}")
        append(results, f"sanitizer report {name}", 0, 1, 0)


def print_sum(results):
    total = [0, 0, 0]
    with open(results, encoding="utf-8") as file:
        for line in file:
            *counts, name = line.rstrip("\n").split("\t", 3)
            counts = list(map(int, counts))
            total = [a + b for a, b in zip(total, counts)]
            if counts[1]:
                print(f"FAILED  {name} ({counts[1]})")
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not total[0] else 0


def main(results, command, *arguments):
    if command == "add":
        append(results, arguments[0], *map(int, arguments[1:]))
    elif command == "meson":
        add_meson(results, arguments[0], arguments[1], int(arguments[2]))
    elif command == "logs":
        add_logs(results, *arguments)
    elif command == "sum":
        return print_sum(results)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
