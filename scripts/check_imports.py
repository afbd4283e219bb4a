"""Fails where files of a crate, or folders of a crate, import each other in a circle.

    python3 scripts/check_imports.py            # every crate under crates/
    python3 scripts/check_imports.py trainer    # the crates named

A file imports the one that holds the last module on a path in its code, as layer.rs for
`use crate::energy::layer::Layer` or `super::layer::Layer`. Re-exports are not followed: who writes
`crate::Layer` imports lib.rs, which imports layer.rs. So a parent may re-export its children if
no child names anything through it. A folder is a module below lib.rs with all that is in it.
`mod layer;`, `pub(in crate::energy)`, comments and what is below `#[cfg(test)]` import nothing.
"""

import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^\n]+?|[^\\'\n])'""", re.S
)
TEST_ONLY = re.compile(r"\#\s*\[\s*cfg\s*\((?!\s*(?:any|not)\b)[^\]]*\btest\b[^\]]*\]")
VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
USE = re.compile(r"\buse\s+([^;]+);")
NAMED = re.compile(r"(?<![\w:$])\$?((?:\w+\s*::\s*)+\w+)")
GROUP = re.compile(r"([\w:\s]*)\{([^{}]*)\}")
MODULE = re.compile(r"\bmod\s+(\w+)\s*([;{])")


def end_of_item(text, start):
    """Index behind the item at `start`: its `;`, or the brace that closes its first block."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in "{([") - (text[index] in "})]")
        if depth == 0 and text[index] in ";}":
            return index + 1
    return len(text)


def leaves(tree):
    """The paths of a use tree, each with the name it gets: `a::{b, c as d}` -> a::b b, a::c d."""
    while group := GROUP.search(tree):
        parts = [group[1] + part for part in group[2].split(",") if part.strip()]
        tree = tree[: group.start()] + ",".join(parts) + tree[group.end() :]
    for leaf in tree.split(","):
        path, _, alias = re.sub(r"\s+", " ", leaf.strip()).partition(" as ")
        path = path.removesuffix("::self").replace(" ", "").split("::")
        yield path, alias or path[-1]


def add(modules, module, file, folder, text=None):
    """Adds file and code of the module in `file`, or in `text`, and of those below to `modules`."""
    if text is None:
        text = VISIBILITY.sub(" ", NOT_CODE.sub(" ", file.read_text()))
        while test := TEST_ONLY.search(text):
            text = text[: test.start()] + text[end_of_item(text, test.end()) :]
    while found := MODULE.search(text):
        name, start, end = found[1], found.start(), found.end()
        if found[2] == "{":
            end = end_of_item(text, start)
            add(modules, (*module, name), file, folder / name, text[found.end() : end - 1])
        else:
            flat = folder / f"{name}.rs"
            child = flat if flat.exists() else folder / name / "mod.rs"
            add(modules, (*module, name), child, folder / name)
        text = text[:start] + text[end:]
    modules[module] = file, text


def target(modules, module, path, scope):
    """The module through which `path` names its item; None if it leaves the crate."""
    child = (*module, path[0])
    starts = {"crate": (), "self": module, "super": module[:-1]}
    at = starts.get(path[0], child if child in modules else scope.get(path[0]))
    for part in path[1:] if at is not None else ():
        inner = at[:-1] if part == "super" else (*at, part)
        if inner not in modules:
            break
        at = inner
    return at


def imports(modules, module):
    """The modules that `module` imports, each with a path that does so."""
    text, scope = modules[module][1], {}
    named = [leaf for use in USE.finditer(text) for leaf in leaves(use[1])]
    for path, name in named:
        at = target(modules, module, path, scope)
        if at and at[-1] == path[-1]:
            scope[name] = at
    paths = [path for path, _ in named]
    paths += [re.sub(r"\s", "", path).split("::") for path in NAMED.findall(USE.sub("", text))]
    found = {target(modules, module, path, scope): "::".join(path) for path in paths}
    return {at: path for at, path in found.items() if at is not None}


def circle(modules, owner):
    """The imports of a circle between the owners of modules, such as their files; or none."""
    graph = {}
    for module in modules:
        for at, path in imports(modules, module).items():
            if owner(at) != owner(module):
                graph.setdefault(owner(module), {})[owner(at)] = path
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names = error.args[1]
        return [f"  {b} -> {a} ({graph[b][a]})" for a, b in zip(names, names[1:])]


def main():
    failed = False
    for source in sorted(ROOT.glob("crates/*/src")):
        crate, modules = source.parent.name, {}
        if crate not in (sys.argv[1:] or [crate]):
            continue
        root = source / "lib.rs"
        add(modules, (), root if root.exists() else source / "main.rs", source)
        for kind, owner in {
            "files": lambda module: modules[module][0].relative_to(source),
            "folders": lambda module: module[0] if module else "lib.rs",
        }.items():
            if found := circle(modules, owner):
                failed = True
                print(f"crates/{crate}: {kind} import each other in a circle", *found, sep="\n")
    if failed:
        sys.exit("import circles; move what both sides need into a module of its own")


if __name__ == "__main__":
    main()
