# SPDX-License-Identifier: Apache-2.0
"""Which file defines what, and which file names it: the linkage of the tree, read as text."""
import json
import os
import re
import subprocess

import sources

PRODUCT = ("codec/", "sql/", "actors/", "hub/")
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
WORD = re.compile(r"[A-Za-z_]\w*")
MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+\w+\(([^)]*)\)((?:[^\n\\]|\\.|\\\n)*)", re.MULTILINE)
PASTE = re.compile(r"\w+(?:\s*##\s*\w+)+")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+\.h)"', re.MULTILINE)
SEAM = re.compile(r"\bTEST_SEAM\b[^;]*?(\w+)\s*\(")


def strip_noise(text):
    """Blank comments and literals, keeping every line where it is."""
    return NOISE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def list_pastes(text):
    """Patterns of the names that macros of this text paste together from their parameters."""
    patterns = set()
    for parameters, body in MACRO.findall(text):
        names = set(WORD.findall(parameters))
        for chain in PASTE.findall(body):
            parts = ["(\\w+)" if part in names else part for part in WORD.findall(chain)]
            if any(part != "(\\w+)" for part in parts):
                patterns.add(re.compile("".join(parts)))
    return patterns


def run_ctags(root, paths, kinds):
    """The records of the functions (f), prototypes (p), macros (d), enumerators (e) in these files."""
    if not paths:
        return []
    command = ["ctags", "--languages=C", "--langmap=C:.c.h", f"--kinds-C={kinds}", "--fields=+nf",
               "--output-format=json", "-f", "-", "-L", "-"]
    names = "\n".join(os.path.join(root, path) for path in paths)
    run = subprocess.run(command, input=names.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in run.stdout.decode().splitlines() if line.strip()]


class Tree:
    """The files of the tree: what each includes, defines for others and names."""

    def __init__(self, root):
        self.root = root
        self.includes, self.words, self.pastes, self.seams = {}, {}, {}, {}
        for path in sources.list_files(root, ".c", ".h", ".def"):
            raw = sources.read(root, path)
            text = strip_noise(raw)
            self.includes[path] = INCLUDE.findall(raw)
            self.words[path] = {}
            for word in WORD.findall(text):
                self.words[path][word] = self.words[path].get(word, 0) + 1
            self.pastes[path] = list_pastes(text)
            for name in SEAM.findall(text):
                self.seams[name] = path
        self.everything = {word for words in self.words.values() for word in words}

    def public_functions(self):
        """Name -> file, of every function of the product that is not static."""
        paths = [path for path in self.words if path.startswith(PRODUCT) and path.endswith(".c")]
        return {tag["name"]: os.path.relpath(tag["path"], self.root)
                for tag in run_ctags(self.root, paths, "f") if not tag.get("file")}

    def header_constants(self):
        """Name -> header, of every macro and nameless enum's constant in headers of the product."""
        paths = [path for path in self.words if path.startswith(PRODUCT) and path.endswith(".h")]
        return {tag["name"]: os.path.relpath(tag["path"], self.root)
                for tag in run_ctags(self.root, paths, "de")
                if tag["kind"] == "macro" or "__anon" in tag.get("scope", "")}

    def namers(self, name):
        """File -> how often it names this, counting macros that paste the name together."""
        found = {path: words[name] for path, words in self.words.items() if name in words}
        for path, patterns in self.pastes.items():
            if any(self._pastes(pattern, name) for pattern in patterns):
                found[path] = found.get(path, 0) + 1
        return found

    def _pastes(self, pattern, name):
        match = pattern.fullmatch(name)
        return match is not None and all(part in self.everything for part in match.groups())
