"""Law 1, as it turns out: importing every module leaves no state behind, starts nothing, and changes no process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("leftovers.py")


def left_by(*packages: str, path: Path | None = None) -> dict:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1"} | ({"PYTHONPATH": str(path)} if path else {})
    result = subprocess.run(
        [sys.executable, str(PROGRAM), *packages], check=False, capture_output=True, text=True, env=environ, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def left(packages) -> dict:
    """What importing everything leaves behind."""
    return left_by(*packages)


def test_every_module_is_imported(left, packages):
    files = [path for folder in packages.values() for path in folder.rglob("*.py") if path.name != "__main__.py"]

    assert left["modules"] == len(files)


def test_importing_every_module_leaves_no_state(left):
    assert left["state"] == []


def test_importing_every_module_starts_nothing_and_changes_no_process(left):
    assert left["started"] == []


# It finds what is planted: in one process, a module each.

STATE = {
    "a_dict": "TOOLS = {}",
    "a_list": "TOOLS = [1]",
    "a_set": "TOOLS = set()",
    "a_bytearray": "TOOLS = bytearray()",
    "a_deque": "import collections\nTOOLS = collections.deque()",
    "a_defaultdict": "import collections\nTOOLS = collections.defaultdict(list)",
    "a_counter": "import collections\nTOOLS = collections.Counter()",
    "a_weak_map": "import weakref\nTOOLS = weakref.WeakValueDictionary()",
    "an_iterator": "import itertools\nIDS = itertools.count()",
    "a_generator": "IDS = (n for n in range(3))",
    "in_a_tuple": "TOOLS = (1, ({},))",
    "behind_a_proxy": "import types\nTOOLS = types.MappingProxyType({'a': []})",
    "in_a_partial": "import functools\nf = functools.partial(print, [])",
    "hidden_in_a_call": "def make():\n    return {}\nTOOLS = make()",
    "imported_state": "from planted.a_dict import TOOLS",
    "a_cache": "import functools\n@functools.lru_cache\ndef f(): ...",
    "a_context": "import contextvars\nNOW = contextvars.ContextVar('now')",
    "a_lock": "import threading\nLOCK = threading.Lock()",
    "a_local": "import threading\nLOCAL = threading.local()",
    "an_async_lock": "import asyncio\nLOCK = asyncio.Lock()",
    "a_console": "from rich.console import Console\nOUT = Console()",
    "a_plain_object": "class State:\n    pass\nSTATE = State()",
    "a_namespace": "import types\nSTATE = types.SimpleNamespace()",
    "a_class_attribute": "class A:\n    tools = {}",
    "an_inner_class": "class A:\n    class B:\n        tools = []",
    "an_attrs_default": "import attrs\n@attrs.frozen\nclass A:\n    tools: list = attrs.field(default=[])\nONE = A()",
    "an_unfrozen_value": "import attrs\n@attrs.define\nclass A:\n    x: int = 1\nONE = A()",
    "an_unfrozen_struct": "import msgspec\nclass A(msgspec.Struct):\n    x: int = 1\nONE = A()",
    "a_frozen_value_that_holds": "import attrs\n@attrs.frozen\nclass A:\n    x: list\nONE = A([])",
    "a_default": "def f(x=[]): ...",
    "a_method_default": "class A:\n    def f(self, *, x={}): ...",
    "a_closure": "def make():\n    seen = []\n    def f():\n        return seen\n    return f\nf = make()",
    "a_function_attribute": "def f(): ...\nf.seen = 0",
    "in_all": "__all__ = [1]",
}
FINE = """
import datetime, enum, functools, logging, pathlib, re, types, typing, urllib.parse, uuid
from urllib.parse import urlsplit
import attrs, msgspec
__all__ = ["NAMES"]
NAMES = ("a", frozenset({"b"}))
JSON = dict[str, typing.Any]
LOGGER = logging.getLogger(__name__)
PATTERN = re.compile("a")
HERE = pathlib.Path(".")
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ID = uuid.UUID(int=1)
TABLE = types.MappingProxyType({"a": 1})
CALL = functools.partial(print, "a", end="")
ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(int)
META = msgspec.Meta(ge=1)
T = typing.TypeVar("T")
Hook = typing.Callable[[int], str]
Either = int | str
class Kind(enum.Enum):
    A = "a"
class Pair(typing.NamedTuple):
    a: int = 1
class Wire(msgspec.Struct, frozen=True):
    tools: tuple = ()
class Loose(msgspec.Struct):
    tools: list = []
@attrs.frozen
class Value:
    x: tuple = (1,)
    @functools.cached_property
    def y(self): return 1
class Protocol(typing.Protocol):
    def f(self, x: int = 1) -> int: ...
ONE, WIRE, KIND, PAIR = Value(), Wire(), Kind.A, Pair()
"""
STARTED = {
    "a_thread": ("threads", "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"),
    "a_loop": ("loops", "import asyncio\nLOOP = asyncio.new_event_loop()"),
    "a_socket": ("sockets", "import socket\nSOCKET = socket.socket()"),
    "an_environ": ("environ", "import os\nos.environ['PLANTED'] = '1'"),
    "a_folder": ("folder", "import os\nos.chdir('/')"),
    "a_handler": ("handlers", "import logging\nlogging.basicConfig()"),
    "a_signal": ("signals", "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)"),
    "a_path": ("path", "import sys\nsys.path.append('planted')"),
}


def plant(folder: Path, sources: dict[str, str]) -> Path:
    (folder / "planted").mkdir()
    (folder / "planted" / "__init__.py").write_text("")
    for name, source in sources.items():
        (folder / "planted" / f"{name}.py").write_text(source + "\n")
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> list[str]:
    """The modules of one package, each with a state of its kind, in which state was found."""
    path = plant(tmp_path_factory.mktemp("state"), STATE)
    return [found.split(".")[1].split(":")[0] for found in left_by("planted", path=path)["state"]]


@pytest.mark.parametrize("name", STATE)
def test_planted_state_is_found(planted, name):
    assert name in planted


def test_what_is_no_state_is_not_found(tmp_path):
    assert left_by("planted", path=plant(tmp_path, {"fine": FINE})) == {"modules": 2, "state": [], "started": []}


@pytest.mark.parametrize("name", STARTED)
def test_what_an_import_starts_is_found(tmp_path, name):
    what, source = STARTED[name]
    started = left_by("planted", path=plant(tmp_path, {name: source}))["started"]

    assert what in [found.split(":")[0] for found in started]
