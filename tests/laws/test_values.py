"""Law 2, for every public value: it is filled once, takes what its fields declare, and equals what has its hash.

A class that a room exports is named here: under MADE_BY_CALLERS with arguments that it takes, or under MADE_BY_US when
only the library makes it (its fields are then not looked at when it is made).
"""

import importlib
import inspect
import pkgutil
import types
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import get_args

import attrs
import pytest

import gaia_core
import gaia_http
from gaia_core import (
    Agent,
    ApprovalPolicy,
    Catalog,
    ContextPolicy,
    GaiaError,
    Limits,
    ModelSpec,
    Toolset,
    TurnOptions,
    resource,
    scripted,
    tool,
)
from gaia_core.agent import Delegate, ToolSearch
from gaia_core.catalog import Retention, StorageLimits, StorageQuota
from gaia_core.messages import FileData, FunctionCall, ImageURL, InputAudio, TextPart, UserMessage
from gaia_core.models import EndpointConfig, Sampling, ToolChoice
from gaia_core.models.embedded import QWEN_CODER, Hub, LocalFile, Package
from gaia_core.turn import Audience
from gaia_http.keys import KeyLimits


def public() -> Iterator[type]:
    """The attrs classes and structs that rooms export, and those of modules that are a room themselves."""
    modules = [gaia_core, gaia_http]
    for package in tuple(modules):
        names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
        modules += [importlib.import_module(name) for name in names if "._" not in name]
    for module in modules:
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if (
                inspect.isclass(value)
                and not name.startswith("_")
                and (attrs.has(value) or hasattr(value, "__struct_fields__"))
            ):
                yield value


PUBLIC = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in public()}
ATTRS = [kind for kind in PUBLIC.values() if attrs.has(kind)]


@tool
def look(path: str) -> str:
    """Look."""


@resource(scope="process")
def store(url: str = "a"):
    yield url


AGENT = Agent("a")
SPEC = ModelSpec("m", open=scripted)
CONFIG = EndpointConfig(url="http://127.0.0.1/v1")

MADE_BY_CALLERS = {
    "Agent": {"name": "a"},
    "ApprovalPolicy": {},
    "Bound": {"tool": look, "origin": "t"},
    "Candidate": {"name": "a", "url": "http://127.0.0.1"},
    "Catalog": {"agents": (AGENT,), "models": (SPEC,), "default_agent": "a"},
    "CatalogFault": {"source": "a", "brief": "b", "message": "c"},
    "CatalogProblem": {"source": "a", "message": "b"},
    "ContextPolicy": {},
    "Delegate": {"agent": AGENT},
    "EndpointConfig": {"url": "http://127.0.0.1/v1"},
    "Found": {"name": "a", "url": "http://127.0.0.1", "models": ()},
    "Grant": {"tool": "a", "fixed": b"{}"},
    "Hub": {"repository": "a/b", "file": "c"},
    "Limits": {},
    "LocalFile": {"path": Path("a")},
    "ModelSpec": {"name": "m", "open": scripted},
    "OpenEndpoints": {"configs": (CONFIG,)},
    "Package": {"distribution": "a", "version": "1", "sha256": "b", "member": "c", "size": 1},
    "Packages": {"packages": (Package("a", "1", "b", "c", 1),)},
    "Parameters": {"schema": b"{}"},
    "Plugin": {"name": "a", "factory": Toolset},
    "Recipe": {"factory": print, "arguments": (), "scope": "session"},
    "ReplacementLibrary": {
        "library": "a",
        "name": "b",
        "sha256": "c",
        "size": 1,
        "notice": "d",
        "sources": (LocalFile(Path("a")),),
    },
    "Retention": {},
    "Session": {"id": "a", "agent": AGENT},
    "Settings": {},
    "Source": {"name": "a", "recipe": store()},
    "StorageLimits": {},
    "StorageQuota": {},
    "Tool": {"name": "a", "description": "b", "parameters": look.parameters, "handler": print},
    "ToolSearch": {},
    "ShelfModel": {"name": "a", "megabytes": 1, "memory": 1.0, "licence": "b", "words": "c", "hub": Hub("a/b", "c")},
    "TurnOptions": {},
    "TurnRequest": {},
    "WeightsChoice": {"weights": QWEN_CODER, "why": "a", "fallback": QWEN_CODER},
    "Weights": {"name": "a", "sha256": "b", "size": 1, "notice": "c", "sources": (LocalFile(Path("a")),)},
    # Structs.
    "AssistantMessage": {"content": "a"},
    "AudioPart": {"input_audio": InputAudio("a", "wav")},
    "DeveloperMessage": {"content": "a"},
    "Edit": {"seq": 1, "digest": "a"},
    "EmbeddingRequest": {"input": b"[]", "count": 0},
    "EventId": {"seq": 1, "epoch": 1, "index": 0},
    "FileData": {},
    "FilePart": {"file": FileData()},
    "FunctionCall": {"name": "a", "arguments": "{}"},
    "FunctionMessage": {"content": "a", "name": "b"},
    "Image": {"media_type": "image/png", "data": b""},
    "ImagePart": {"image_url": ImageURL("a")},
    "ImageURL": {"url": "a"},
    "InputAudio": {"data": "a", "format": "wav"},
    "Key": {"id": "a", "name": "b", "digest": "c", "created": 1},
    "KeyLimits": {},
    "RefusalPart": {"refusal": "a"},
    "ResponseFormat": {"type": "json_object"},
    "Sampling": {},
    "SystemMessage": {"content": "a"},
    "TextPart": {"text": "a"},
    "ToolCall": {"id": "a", "function": FunctionCall("a", "{}")},
    "ToolChoice": {},
    "ToolDefinition": {"name": "a", "description": "b", "parameters": b"{}", "encoded": b"{}"},
    "ToolOutput": {"text": "a"},
    "ToolMessage": {"content": "a", "tool_call_id": "b"},
    "UserMessage": {"content": (TextPart("a"),)},
}

MADE_BY_US = (
    "gaia_core.events.", "gaia_core.facts.", "gaia_core.journal.", "gaia_core.runtime.", "gaia_core.testing.",
)  # fmt: skip
"""Rooms whose other values the runtime makes, by the thousand: events, facts, rows, pictures of what runs."""

MADE_BY_US_TOO = frozenset(
    (
        "AnswerType",  # of what a caller gave
        "Change", "Difference", "Lock", "LockedTool", "LockedTools", "ToolIndex",  # what the library found
        "Embeddings", "Finished", "ToolCallDelta", "Usage",  # what models say
        "Decision", "EndpointLoad", "ModelAccess", "ModelRequest", "RefusedCall", "SlotRequest", "State",  # of a turn
        "TurnContext",
        "ChildFault", "LoaderFault", "TaskReport",  # what failed
        "Spread",  # what was measured
    )
)  # fmt: skip
TESTED_ELSEWHERE = frozenset(("Toolset",))  # its arguments are not its fields: tests/tools/test_frozen.py


def test_every_public_value_is_named_here_once():
    names = {name.rpartition(".")[2]: name for name in PUBLIC}
    ours = {short for short, name in names.items() if name.startswith(MADE_BY_US)} - MADE_BY_CALLERS.keys()

    assert set(names) == ours | MADE_BY_CALLERS.keys() | MADE_BY_US_TOO | TESTED_ELSEWHERE
    assert not MADE_BY_US_TOO & MADE_BY_CALLERS.keys()


# Filled once.


@pytest.mark.parametrize("kind", ATTRS, ids=lambda kind: kind.__qualname__)
def test_a_second_init_is_refused_before_it_writes(kind):
    if kind is Agent:
        assert kind.__init__ is object.__init__  # which does nothing
        return
    value, before, after = object.__new__(kind), object(), object()
    for field in attrs.fields(kind):
        object.__setattr__(value, field.name, before)
    arguments = (
        {"name": "after"} if kind is Toolset else {field.alias: after for field in attrs.fields(kind) if field.init}
    )

    with pytest.raises(AttributeError, match=f"this {kind.__name__} is frozen"):
        value.__init__(**arguments)

    assert {getattr(value, field.name) for field in attrs.fields(kind)} == {before}


@pytest.mark.parametrize("kind", PUBLIC.values(), ids=lambda kind: kind.__qualname__)
def test_a_public_value_is_frozen(kind):
    if attrs.has(kind):
        assert "__dict__" not in dir(object.__new__(kind))
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(object.__new__(kind), attrs.fields(kind)[0].name, 1)
    else:
        assert kind.__struct_config__.frozen
        assert "__init__" not in vars(kind)


def test_a_second_init_of_a_struct_writes_nothing():
    message = UserMessage("a", "ann")

    message.__init__("b")

    assert message == UserMessage("a", "ann")


# Typed.


class Text(str):  # noqa: SLOT000
    """Equals a str, and may be anything else beside."""


class Word(StrEnum):
    A = "a"


ODD = {
    "object": object(), "list": ["a"], "dict": {"a": 1}, "set": {"a"}, "bytearray": bytearray(b"a"),
    "nan": float("nan"), "complex": 1 + 2j, "text": Text("a"), "enum": Word.A, "a list in a tuple": (["a"],),
    "texts": (Text("a"),), "objects": (object(),), "a frozenset of objects": frozenset({object()}),
}  # fmt: skip
TAKES = {
    # What is made a frozenset or a tuple of plain text where that is wanted.
    ("ApprovalPolicy", "tools"): {"list", "dict", "set"},
    ("ApprovalPolicy", "never"): {"list", "dict", "set"},
    ("ToolSearch", "core"): {"list", "dict", "set"},
    ("Settings", "allowed_hosts"): {"list", "texts"},
    ("Settings", "fetch_hosts"): {"list", "texts"},
    # No part of the value.
    ("Packages", "environ"): {"dict"},
    # A protocol.
    ("ReplacementLibrary", "sources"): {"a list in a tuple", "texts", "objects"},
    ("Weights", "sources"): {"a list in a tuple", "texts", "objects"},
}
UNCHECKED = {
    ("Parameters", "decoder"),  # msgspec's, made from the signature
    ("Parameters", "resource"),  # a type of any kind, likewise
}  # fmt: skip


def fields_of(kind: type) -> list[str]:
    if attrs.has(kind):
        return [field.name for field in attrs.fields(kind) if field.init]
    return list(kind.__struct_fields__)


FIELDS = [
    pytest.param(kind, name, id=f"{kind.__name__}.{name}")
    for kind in PUBLIC.values()
    if kind.__name__ in MADE_BY_CALLERS
    for name in fields_of(kind)
]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_refuses_what_it_is_not_declared_to_take_by_its_name(kind, name):
    if (kind.__name__, name) in UNCHECKED:
        return
    taken = TAKES.get((kind.__name__, name), set())
    for label, odd in ODD.items():
        arguments = {**MADE_BY_CALLERS[kind.__name__], name: odd}
        if label in taken:
            assert kind(**arguments)
            continue
        with pytest.raises(GaiaError) as raised:
            kind(**arguments)
        assert name in str(raised.value), label


ALIKE = {int: (True, 1.0, "1"), float: (True, "1", b"1"), bool: (1, 0.0, "True", None), str: (1, b"a", True)}
"""What Python takes for one of these types in many places, or calls equal to a value of it."""


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_refuses_what_is_only_like_its_type(kind, name):
    annotation = kind.__annotations__[name]
    members = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    wanted = [member for member in members if member in ALIKE]
    for alike in ALIKE[wanted[0]] if len(wanted) == 1 else ():
        if type(alike) in members:
            continue
        with pytest.raises(GaiaError) as raised:
            kind(**{**MADE_BY_CALLERS[kind.__name__], name: alike})
        assert name in str(raised.value), alike


def test_a_url_that_may_hold_a_password_is_not_shown():
    with pytest.raises(GaiaError) as raised:
        EndpointConfig(url=b"http://ann:secret@127.0.0.1/v1")

    assert str(raised.value) == "EndpointConfig.url must be a str, not <class 'bytes'> (type)"


# Equal.

POOL = (
    None, True, False, 0, 1, 1.0, -0.0, 0.0, 2, 2.0, 0.5, float("inf"), 2**70, "", "a", "A", "1", "é",
    unicodedata.normalize("NFD", "é"), "a\0", "{}", "http://127.0.0.1/v2", "auto", "none", "merge", "json_schema",
    "process", "max_tokens",
    b"", b"a", b"{}", (), ("a",), ("é",), ("a", "b"), ("b", "a"), frozenset(), frozenset(("a",)), ["a"], ["b", "a"],
    (("a", "b"),), (("a", 1),), (("a", 1.0),), (TextPart("a"),), Path("a"), Path("A"), print, repr, Toolset, AGENT,
    Agent("b"), look, look.parameters, (AGENT,), (SPEC,), (CONFIG,), store(), store("b"), ToolSearch(),
    ApprovalPolicy(), Delegate(AGENT), UserMessage("a"), (UserMessage("a"),), Catalog((), (), ""), "off", "reasoning",
    "native", Toolset("t"), Toolset("u"), Toolset("t", (look,)), Limits(), Limits(seconds=600), Limits(steps=3),
    ContextPolicy(), Sampling(), Sampling(temperature=0.0), Sampling(temperature=-0.0), ToolChoice(),
    ToolChoice("none"), ImageURL("a"), InputAudio("a", "b"), FileData(), FunctionCall("a", "{}"), KeyLimits(),
    Audience.CLIENT, Audience.NOBODY, TurnOptions(), TurnOptions(instructions="a"),
    QWEN_CODER, StorageLimits(), StorageLimits(1), StorageQuota(), StorageQuota(StorageLimits(1)),
    Retention(), Retention(stored_days=1.0),
)  # fmt: skip


NOT_COMPARED = {
    "Bound": ("package",),
    "Catalog": ("created", "lock", "compose"),
    "Packages": ("environ",),
    "Parameters": ("decoder", "fields", "walked", "context", "resource", "check"),
    "Recipe": ("check",),
}
"""Where it came from, or what is made from the rest."""


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_values_that_are_equal_have_one_hash_and_equal_fields(kind, name):
    made = []
    for given in POOL:
        try:
            made.append(kind(**{**MADE_BY_CALLERS[kind.__name__], name: given}))
        except GaiaError:
            continue
    assert made
    compared = name not in NOT_COMPARED.get(kind.__name__, ())

    for one in made:
        for other in made:
            same = getattr(one, name) == getattr(other, name) or not compared
            assert (one == other) is same
            assert hash(one) == hash(other) or not same
