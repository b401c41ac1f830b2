"""What the modules of a package keep (law 1): values that can be changed, and names that were bound anew by use."""

import collections
import functools
import os
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

_CHANGEABLE = (list, dict, set, bytearray, collections.deque)
_DUNDER = "__"


@attrs.frozen(eq=False)
class ModuleState:
    """A picture of the process: what each module's names are bound to, the environment and the working folder."""

    bound: Mapping[str, object]
    environ: Mapping[str, str]
    folder: str


def kept(package: str) -> ModuleState:
    """The picture now."""
    bound = {
        f"{module.__name__}.{name}": value
        for module in modules(package)
        for name, value in vars(module).items()
        if not name.startswith(_DUNDER) and not isinstance(value, types.ModuleType)
    }
    return ModuleState(bound, dict(os.environ), str(Path.cwd()))


def modules(package: str) -> tuple[types.ModuleType, ...]:
    """The modules of *package* that are imported."""
    names = sorted(name for name in sys.modules if name == package or name.startswith(f"{package}."))
    return tuple(sys.modules[name] for name in names)


def state(package: str) -> Iterator[str]:
    """The values that the modules of *package*, or classes and functions in them, keep and that can be changed."""
    for module in modules(package):
        for name, value in vars(module).items():
            if name.startswith(_DUNDER):
                continue
            if why := _changeable(value, package):
                yield f"{module.__name__}.{name} is {why}"
            elif isinstance(value, type) and value.__module__ == module.__name__:
                for member, inner in vars(value).items():
                    if not member.startswith((_DUNDER, "_abc")) and (why := _changeable(inner, package)):
                        yield f"{module.__name__}.{name}.{member} is {why}"
            elif isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
                for default in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
                    if isinstance(default, _CHANGEABLE):
                        yield f"a default of {module.__name__}.{name} is a {type(default).__name__}"


def _changeable(value: object, package: str) -> str:
    if isinstance(value, _CHANGEABLE):
        return f"a {type(value).__name__}"
    if isinstance(value, functools._lru_cache_wrapper):  # noqa: SLF001  # the only name of its type
        own = (value.__module__ or "").split(".")[0] == package
        return "a cache" if own else ""
    if isinstance(value, tuple | frozenset):
        return next((why for part in value if (why := _changeable(part, package))), "")
    if isinstance(value, collections.abc.Iterator):
        return f"an iterator ({type(value).__name__})"
    kind = type(value)
    if kind.__module__.split(".")[0] == package and not isinstance(value, type) and vars_of(value):
        return f"a {kind.__qualname__} that holds {', '.join(vars_of(value))}"
    return ""


def vars_of(value: object) -> tuple[str, ...]:
    """The attributes of an instance, when they can be set anew."""
    held = getattr(value, "__dict__", None)
    if not held or attrs.has(type(value)):
        return ()
    return tuple(sorted(held))


def changed(before: ModuleState, after: ModuleState) -> Iterator[str]:
    """What use has changed of the process."""
    for name, value in after.bound.items():
        if name in before.bound and before.bound[name] is not value:
            yield f"{name} was bound to another value by use"
    for name in sorted(before.environ.keys() | after.environ.keys()):
        if before.environ.get(name) != after.environ.get(name):
            yield f"the environment variable {name} was changed"
    if before.folder != after.folder:
        yield f"the working folder was changed to {after.folder}"
