#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The files of the source tree, as the checks see them. Run with suffixes to print them."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOT_SOURCE = {".git", "node_modules", "artifacts", "__pycache__"}


def _tracked(root):
    """What git tracks or would track; None where this is not a checkout of its own."""
    if not os.path.exists(os.path.join(root, ".git")):
        return None
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return run.stdout.decode().split("\0") if run.returncode == 0 else None


def _walked(root):
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in NOT_SOURCE and not f.startswith("build")]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def list_files(root, *suffixes):
    """Sorted relative paths that end in one of `suffixes` (all when none is given)."""
    paths = _tracked(root)
    if paths is None:
        paths = _walked(root)
    return sorted({p for p in paths if p and (not suffixes or p.endswith(suffixes))
                   and os.path.isfile(os.path.join(root, p))})


def read(root, path):
    """The text of one file; bytes that are not UTF-8 are kept as surrogates."""
    with open(os.path.join(root, path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def report(problems, what):
    """Print the problems and return the exit code."""
    for problem in problems:
        print(problem)
    print(f"{what}: {len(problems)} problem(s)" if problems else f"{what}: fine")
    return 1 if problems else 0


if __name__ == "__main__":
    print("\n".join(list_files(ROOT, *sys.argv[1:])))
