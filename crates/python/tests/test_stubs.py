"""The types say what there is, and everything is documented."""

import ast
import inspect
from pathlib import Path

import hvae

STUBS = ast.parse(Path(hvae.__file__).with_suffix(".pyi").read_text()).body


def test_program_and_module_have_one_version(program):
    assert program("--version").startswith(f"hvae {hvae.__version__} ")


def names(function):
    arguments = function.args
    listed = [*arguments.args, *arguments.kwonlyargs]
    extra = [one for one in (arguments.vararg, arguments.kwarg) if one]
    return [one.arg for one in listed + extra]


def test_the_stubs_have_the_names_and_arguments_of_the_module():
    stubs = {node.name: node for node in STUBS if hasattr(node, "name")}
    assert set(stubs) == set(hvae.__all__)
    assert Path(hvae.__file__).with_name("py.typed").exists()
    for name, stub in stubs.items():
        found = getattr(hvae, name)
        assert inspect.getdoc(found), name
        if isinstance(stub, ast.FunctionDef):
            assert names(stub) == list(inspect.signature(found).parameters), name
            continue
        listed = {method.name for method in stub.body if isinstance(method, ast.FunctionDef)}
        public = {method for method in vars(found) if not method.startswith("_")}
        assert public == {method for method in listed if not method.startswith("_")}, name
        for method in stub.body:
            is_property = any(d.id == "property" for d in method.decorator_list)
            if is_property or method.name.startswith("_"):
                continue
            signature = inspect.signature(getattr(found, method.name))
            assert names(method) == list(signature.parameters), f"{name}.{method.name}"
            assert inspect.getdoc(getattr(found, method.name)), f"{name}.{method.name}"
