"""What importing packages leaves behind, printed as JSON. Run as a program, in a process of its own:

    python leftovers.py gaia_core gaia_http

`state`: module and class attributes, defaults and closure cells that can be changed. `started`: threads, loops,
sockets, changes of the process.
"""

import asyncio
import collections
import datetime as dt
import decimal
import enum
import functools
import gc
import importlib
import json
import logging
import operator
import os
import pathlib
import pkgutil
import re
import signal
import socket
import struct
import sys
import threading
import types
import typing
import uuid
from collections.abc import Iterator

CHANGEABLE = (list, dict, set, bytearray, collections.deque)
PLAIN = (
    type(None), bool, int, float, complex, str, bytes, range, slice, type(...), type(NotImplemented), type, enum.Enum,
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.WrapperDescriptorType,
    types.MethodDescriptorType, types.MethodWrapperType, types.ModuleType, types.GenericAlias, types.UnionType,
    classmethod, staticmethod, property, functools.cached_property, types.MemberDescriptorType,
    types.GetSetDescriptorType, types.ClassMethodDescriptorType, type(typing.NamedTuple("_", [("a", int)]).a),
    dt.date, dt.time, dt.timedelta, dt.timezone, decimal.Decimal, uuid.UUID, pathlib.PurePath,
    re.Pattern, logging.Logger, struct.Struct, typing.TypeVar, typing.ParamSpec, typing.NewType, typing.ForwardRef,
    operator.itemgetter, operator.attrgetter, operator.methodcaller,
)  # fmt: skip
# Declarations of the frameworks that an application is made of: they are made once and never changed.
DECLARED = ("click.core.", "litestar.handlers.")
CODECS = ("msgspec.", "attr.")


def state(modules: list[types.ModuleType]) -> Iterator[str]:
    for module in modules:
        for name, value in vars(module).items():
            if name.startswith("__") and name.endswith("__"):
                if name == "__all__" and not all(isinstance(item, str) for item in value):
                    yield f"{module.__name__}.__all__ holds more than names"
                continue
            if (why := changeable(value)) and not is_foreign_cache(value, module):
                yield f"{module.__name__}.{name}: {why}"
            yield from inside(value, module.__name__, f"{module.__name__}.{name}")


def is_foreign_cache(value: object, module: types.ModuleType) -> bool:
    """Whether a function with a cache was imported from another distribution, such as urllib's."""
    cached = isinstance(value, functools._lru_cache_wrapper)
    return cached and value.__module__.split(".")[0] != module.__name__.split(".")[0]


def inside(value: object, module: str, path: str) -> Iterator[str]:
    """The state of a class or function that *module* declares."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, functools.cached_property):
        value = value.func
    if getattr(value, "__module__", None) != module:
        return
    if isinstance(value, type):
        generated = isinstance(value, enum.EnumType) or hasattr(value, "_fields")
        for name, member in vars(value).items():
            if name.startswith(("__", "_abc")) or (generated and name.startswith("_")):
                continue
            if why := changeable(member):
                yield f"{path}.{name}: {why}"
            yield from inside(member, module, f"{path}.{name}")
    elif isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if holds(cell)]
        for kept in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells):
            if isinstance(kept, CHANGEABLE):
                yield f"{path} keeps a {type(kept).__name__}"
        if value.__dict__.keys() - {"__wrapped__", "__isabstractmethod__", "__click_params__", "__final__"}:
            yield f"{path} has attributes: {sorted(value.__dict__)}"


def holds(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def changeable(value: object) -> str | None:
    """Why a value can be changed, or None."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, CHANGEABLE):
        return f"a {name}"
    if isinstance(value, tuple | frozenset):
        return next(filter(None, map(changeable, value)), None)
    if isinstance(value, types.MappingProxyType):
        return next(filter(None, map(changeable, value.values())), None)
    if isinstance(value, functools.partial):
        return next(filter(None, map(changeable, (value.func, value.args, *value.keywords.values()))), None)
    if isinstance(value, PLAIN) or kind.__module__ in ("typing", "typing_extensions"):
        return None
    if name.startswith(CODECS):
        return None
    if any(f"{base.__module__}.".startswith(DECLARED) for base in kind.__mro__):
        return None
    if frozen(kind):
        return next((f"{name}.{field}: {why}" for field, part in parts(value) if (why := changeable(part))), None)
    return f"a {name}, which is not known to be frozen"


def frozen(kind: type) -> bool:
    config = getattr(kind, "__struct_config__", None)
    if config is not None:
        return config.frozen
    if "__dataclass_params__" in vars(kind):
        return kind.__dataclass_params__.frozen
    return kind.__setattr__.__name__ == "_frozen_setattrs"  # attrs'


def parts(value: object) -> Iterator[tuple[str, object]]:
    kind = type(value)
    names = getattr(kind, "__struct_fields__", None) or [
        getattr(item, "name", item) for item in getattr(kind, "__attrs_attrs__", ()) or kind.__dataclass_fields__
    ]
    return ((name, getattr(value, name)) for name in names)


def process() -> dict[str, object]:
    """What an import could change of the process. Garbage is collected first."""
    gc.collect()
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "loops": sum(isinstance(found, asyncio.AbstractEventLoop) for found in gc.get_objects()),
        "tasks": sum(isinstance(found, asyncio.Future) for found in gc.get_objects()),
        "sockets": sum(isinstance(found, socket.socket) for found in gc.get_objects()),
        "sessions": sum(type(found).__name__ == "ClientSession" for found in gc.get_objects()),
        "children": sorted(pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
        if pathlib.Path(f"/proc/self/task/{os.getpid()}/children").exists()
        else [],
        "environ": dict(os.environ),
        "folder": os.getcwd(),
        "handlers": [repr(handler) for handler in logging.root.handlers],
        "level": logging.root.level,
        "signals": [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "path": list(sys.path),
    }


def main(packages: list[str]) -> None:
    before = process()
    modules = []
    for package in packages:
        root = importlib.import_module(package)
        names = [info.name for info in pkgutil.walk_packages(root.__path__, f"{package}.")]
        modules += [root, *map(importlib.import_module, (n for n in names if not n.endswith(".__main__")))]
    after = process()
    started = [f"{name}: {before[name]} became {after[name]}" for name in before if before[name] != after[name]]
    left = {"modules": len(modules), "state": sorted(set(state(modules))), "started": started}
    sys.stdout.write(json.dumps(left))


if __name__ == "__main__":
    main(sys.argv[1:])
