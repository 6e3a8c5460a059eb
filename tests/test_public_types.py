"""No public function needs a type that is not public."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

import wsi_suite
from wsi_suite import types


class _Elsewhere(type):
    def __getattr__(cls, name: str) -> type:
        return cls

    def __getitem__(cls, _: object) -> type:
        return cls


class Elsewhere(metaclass=_Elsewhere):
    """Stands for a name of another package, which takes long to import or is not installed."""


@cache
def names_of(module: ModuleType) -> dict[str, Any]:
    """Return the names that annotations of a module may use, those for type checkers too."""
    assert module.__file__ is not None
    names = dict(vars(module))
    for node in ast.parse(Path(module.__file__).read_text("utf-8")).body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            continue
        for one in node.body:
            for alias in one.names if isinstance(one, ast.Import | ast.ImportFrom) else ():
                found: Any = Elsewhere
                if isinstance(one, ast.ImportFrom) and str(one.module).startswith("wsi_suite"):
                    found = getattr(import_module(str(one.module)), alias.name)
                names.setdefault(alias.asname or alias.name, found)
    return names


def classes_in(hint: object) -> Iterator[type]:
    """Yield the classes that an annotation is made of."""
    if isinstance(hint, list | tuple):
        for part in hint:
            yield from classes_in(part)
    elif isinstance(hint, type) and not get_args(hint):
        yield hint
    else:
        yield from classes_in(get_args(hint)) if get_args(hint) else ()


def functions_of(thing: object) -> Iterator[Any]:
    """Yield a function, the public methods and properties of a class, or a module's functions."""
    if isinstance(thing, ModuleType):
        yield from (getattr(thing, name) for name in thing.__all__)
    if inspect.isfunction(thing):
        yield thing
    for base in thing.__mro__ if isinstance(thing, type) else ():
        for name, member in vars(base).items() if is_ours(base) else ():
            inner = member.fget if isinstance(member, property) else member
            inner = getattr(inner, "func", getattr(inner, "__func__", inner))
            if not name.startswith("_") and inspect.isfunction(inner) and is_ours(inner):
                yield inner


def hints_of(thing: Any) -> dict[str, Any]:
    """Return the annotations of a function's parameters and result, or of a class's attributes."""
    hints = get_type_hints(thing, localns=names_of(sys.modules[thing.__module__]))
    return {name: hint for name, hint in hints.items() if not name.startswith("_")}


def needs_of(thing: object) -> Iterator[type]:
    """Yield our classes in a function's signature, or in a class's attributes and methods."""
    bases = [base for base in thing.__mro__ if is_ours(base)] if isinstance(thing, type) else []
    for one in (*bases, *functions_of(thing)):
        yield from filter(is_ours, classes_in(list(hints_of(one).values())))


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("wsi_suite")


@cache
def needed() -> dict[type, str]:
    """Return all classes of ours that public names need, and the way to each."""
    ways = {f"wsi_suite.{name}": getattr(wsi_suite, name) for name in wsi_suite.__all__}
    found: dict[type, str] = {}
    todo = list(ways.items())
    while todo:
        way, thing = todo.pop(0)
        for one in needs_of(thing):
            if one not in found:
                found[one] = way
                todo.append((f"{way}: {one.__name__}", one))
    return found


def test_every_type_that_a_public_name_needs_is_public() -> None:
    public = {getattr(wsi_suite, name) for name in wsi_suite.__all__ if name[0].isupper()}
    public |= {getattr(types, name) for name in types.__all__}
    hidden = {one.__qualname__: way for one, way in needed().items() if one not in public}
    assert not hidden, "name them in wsi_suite.types"


def test_every_path_may_be_a_text() -> None:
    for name in wsi_suite.__all__:
        for function in functions_of(getattr(wsi_suite, name)):
            for parameter, hint in hints_of(function).items():
                taken = set(classes_in(hint)) if parameter != "return" else set()
                assert str in taken or Path not in taken, f"{function.__qualname__}: {parameter}"


def test_types_are_those_that_are_needed() -> None:
    """Others would be promised for nothing; aliases, as `SettingsLike`, are no classes."""
    assert types.__all__ == sorted(set(types.__all__))
    assert not set(types.__all__) & set(wsi_suite.__all__)
    for name in types.__all__:
        found = getattr(types, name)
        if isinstance(found, type):
            assert found in needed(), name
            assert found.__name__ == name
            assert found.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Sumary'"):
        _ = types.Sumary


def test_importing_the_types_imports_nothing_heavy() -> None:
    code = "import sys, wsi_suite.types; print([m for m in ('numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
