"""The public names of `gaia_core` and `gaia_core.testing`: signatures and docstrings, which are Markdown."""

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import gaia_core
from gaia_core import testing
from gaia_core.errors import GaiaError

_NOISE = re.compile(r"\b(?:gaia_core|collections|typing|pathlib|datetime)(?:\.\w+)*\.(?=\w)|'")


def words_of(hint: Any) -> str:
    """The annotation *hint*, without the modules of its names; a bar is escaped for a table."""
    words = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    return _NOISE.sub("", words).replace("|", "\\|")


def page() -> str:
    """A section for each name: values first, then functions, then errors."""
    names = [(name, getattr(gaia_core, name)) for name in gaia_core.__all__]
    groups = (
        ("Classes", [each for each in names if inspect.isclass(each[1]) and not issubclass(each[1], GaiaError)]),
        ("Functions", [each for each in names if not inspect.isclass(each[1])]),
        ("Errors", [each for each in names if inspect.isclass(each[1]) and issubclass(each[1], GaiaError)]),
        ("Testing: `gaia_core.testing`", list(_of(testing))),
    )
    text: list[str] = []
    for title, members in groups:
        text += [f"## {title}", ""]
        for name, value in members:
            text += _section(name, value)
    return "\n".join(text)


def _of(module: ModuleType) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(module, name)) for name in module.__all__)


def _section(name: str, value: Any) -> Iterator[str]:
    yield f"### {name}\n"
    if callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
        yield f"```text\n{name}{_signature(value)}\n```\n"
    yield f"{_doc(value)}\n"
    if inspect.isclass(value):
        for member, found in vars(value).items():
            yield from _member(name, member, found)


def _member(owner: str, name: str, found: Any) -> Iterator[str]:
    inner = found.__func__ if isinstance(found, classmethod | staticmethod) else found
    if name.startswith("_") or not (text := inspect.getdoc(inner)):
        return
    if inspect.isfunction(inner):
        kind = "async " if inspect.iscoroutinefunction(inner) else ""
        yield f"#### {owner}.{name}\n\n```text\n{kind}{name}{_signature(inner)}\n```\n\n{_markdown(text)}\n"
    elif isinstance(inner, property) or hasattr(inner, "func"):  # a cached property
        yield f"#### {owner}.{name}\n\n{_markdown(text)}\n"


def _signature(value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "(…)"
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    return _NOISE.sub("", str(signature.replace(parameters=parameters)))


def _doc(value: Any) -> str:
    return _markdown(inspect.getdoc(value) or "")


def _markdown(text: str) -> str:
    """*text* with its indented examples, and no heading of its own."""
    return re.sub(r"(?m)^#", r"\\#", text)
