"""Fails where files of one crate, or crates of the workspace, import each other in a circle.

    python3 scripts/check_imports.py            # every crate under crates/
    python3 scripts/check_imports.py trainer    # the crates named

A file imports another if its code names an item through the module that the other file holds:
`use crate::energy::layer::Layer`, `super::layer::Layer`, `layer::Layer` below `mod layer;`, and
the same inside an expression. The import is of the last module on the path. Re-exports are not
followed: who writes `crate::Layer` imports lib.rs, and lib.rs, with its `pub use`, imports layer.rs.
So a parent may use and re-export its children, as long as no child names anything through it.

These are no imports: `mod layer;`, visibility such as `pub(in crate::energy)`, links in comments,
and everything below `#[cfg(test)]`. Between crates only `[dependencies]` count.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^\n]+?|[^\\'\n])'""", re.S
)
TEST_ONLY = re.compile(r"\#\s*\[\s*cfg\s*\((?!\s*(?:any|not)\b)[^\]]*\btest\b[^\]]*\]")
VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
USE = re.compile(r"\buse\s+([^;]+);")
NAMED = re.compile(r"(?<![\w:$])\$?((?:\w+\s*::\s*)+\w+)")
MODULE = re.compile(r"\bmod\s+(\w+)\s*([;{])")


def blank(match):
    """As many lines of nothing, so that line numbers stay."""
    return "\n" * match.group().count("\n") or " "


def end_of_item(text, start):
    """Index behind the item at `start`: its `;`, or the brace that closes its first block."""
    depth = 0
    for index in range(start, len(text)):
        char = text[index]
        depth += (char in "{([") - (char in "})]")
        if depth == 0 and char in ";}":
            return index + 1
    return len(text)


def cut(text, start, end):
    return text[:start] + "\n" * text.count("\n", start, end) + text[end:]


def leaves(tree):
    """The paths of a use tree, each with the name it gets: `a::{b, c as d}` -> a::b b, a::c d."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = re.sub(r"\s+", " ", tree).partition(" as ")
        path = [part.strip() for part in path.split("::")]
        path = path[:-1] if path[-1] == "self" and len(path) > 1 else path
        yield path, alias or path[-1]
        return
    depth, start = 0, brace + 1
    for index in range(brace, len(tree)):
        depth += (tree[index] == "{") - (tree[index] == "}")
        if tree[index] in ",}" and depth == (tree[index] == ","):
            if tree[start:index].strip():
                yield from leaves(tree[:brace] + tree[start:index])
            start = index + 1


class Crate:
    """The module tree of a crate, and who imports whom in it."""

    def __init__(self, folder):
        self.files = {}  # module path -> file
        self.code = {}  # module path -> (its own code without tests and inner modules, first line)
        self.imports = {}  # file -> {file: (line, path)}
        root = folder / "src" / "lib.rs"
        self.load((), root if root.exists() else folder / "src" / "main.rs", folder / "src")
        for module in self.code:
            self.resolve(module)

    def load(self, module, file, folder):
        text = VISIBILITY.sub(blank, NOT_CODE.sub(blank, file.read_text()))
        while test := TEST_ONLY.search(text):
            text = cut(text, test.start(), end_of_item(text, test.end()))
        self.imports[file] = {}
        self.add(module, file, folder, text, 1)

    def add(self, module, file, folder, text, line):
        self.files[module] = file
        while found := MODULE.search(text):
            name, end = found[1], found.end()
            if found[2] == "{":
                end = end_of_item(text, found.start())
                first = line + text.count("\n", 0, found.end())
                self.add((*module, name), file, folder / name, text[found.end() : end - 1], first)
            else:
                flat = folder / f"{name}.rs"
                child = flat if flat.exists() else folder / name / "mod.rs"
                self.load((*module, name), child, folder / name)
            text = cut(text, found.start(), end)
        self.code[module] = text, line

    def target(self, module, path, scope):
        """The module through which `path` names its item; None if it leaves the crate."""
        first, rest = path[0], path[1:]
        if first == "crate":
            at = ()
        elif first == "self":
            at = module
        elif first == "super":
            at = module[:-1]
        elif (*module, first) in self.files:
            at = (*module, first)
        elif first in scope:
            at = scope[first]
        else:
            return None
        while rest and rest[0] == "super":
            at, rest = at[:-1], rest[1:]
        while rest and (*at, rest[0]) in self.files:
            at, rest = (*at, rest[0]), rest[1:]
        return at

    def resolve(self, module):
        text, line = self.code[module]
        scope, named = {}, []
        for use in USE.finditer(text):
            named += [(use.start(), path, name) for path, name in leaves(use[1])]
        for _, path, name in named:
            at = self.target(module, path, scope)
            if at and at[-1] == path[-1]:
                scope[name] = at
        for found in NAMED.finditer(USE.sub(lambda use: blank(use).ljust(len(use[0])), text)):
            named.append((found.start(), re.split(r"\s*::\s*", found[1]), None))
        file = self.files[module]
        for start, path, _ in named:
            at = self.target(module, path, scope)
            if at is not None and self.files[at] != file:
                where = line + text.count("\n", 0, start), "::".join(path)
                self.imports[file].setdefault(self.files[at], where)


def circles(graph):
    """The strongly connected components of more than one node (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def dependencies(folder):
    manifest = tomllib.loads((folder / "Cargo.toml").read_text())
    parts = [manifest, *manifest.get("target", {}).values()]
    return {name for part in parts for name in part.get("dependencies", {})}


def main():
    wanted = sys.argv[1:]
    folders = sorted(path.parent for path in ROOT.glob("crates/*/Cargo.toml"))
    count = 0
    for folder in folders:
        if wanted and folder.name not in wanted:
            continue
        imports = Crate(folder).imports
        for circle in circles(imports):
            count += 1
            print(f"crates/{folder.name}: {len(circle)} files import each other in a circle")
            for file in circle:
                for other, (line, path) in imports[file].items():
                    if other in circle:
                        shown = [p.relative_to(folder / "src") for p in (file, other)]
                        print(f"  {shown[0]}:{line} -> {shown[1]} ({path})")
    names = {tomllib.loads((f / "Cargo.toml").read_text())["package"]["name"]: f for f in folders}
    graph = {name: dependencies(folder) & names.keys() for name, folder in names.items()}
    for circle in circles(graph):
        count += 1
        print(f"crates depend on each other in a circle: {', '.join(circle)}")
    if count:
        sys.exit(f"{count} import circles; move what both sides need into a file of its own")


if __name__ == "__main__":
    main()
