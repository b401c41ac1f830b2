"""Law 1, as it is written: a scan of every package's source for state that a module or a class would hold.

`findings` reads a module's statements that run on import (functions' bodies run later, and may hold what they like)
and says which of them leave something mutable behind. What import leaves behind in fact: test_module_state_at_run.
"""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

# Calls whose result can be changed, or is tied to a process, thread or event loop; by their last name.
MUTABLE = frozenset((
    "list", "dict", "set", "bytearray", "iter", "enumerate", "zip", "map", "filter", "reversed", "sorted",
    "fromkeys", "copy", "deepcopy", "split", "splitlines", "vars", "globals", "locals", "defaultdict",
    "OrderedDict", "Counter", "deque", "ChainMap", "UserDict", "UserList", "WeakSet", "WeakKeyDictionary",
    "WeakValueDictionary", "count", "cycle", "SimpleNamespace", "array", "local", "Lock", "RLock", "Condition",
    "Event", "Semaphore", "BoundedSemaphore", "Barrier", "Queue", "LifoQueue", "PriorityQueue", "SimpleQueue",
    "Future", "Task", "TaskGroup", "new_event_loop", "get_event_loop", "create_task", "ContextVar",
    "ThreadPoolExecutor", "ProcessPoolExecutor", "Thread", "Timer", "Process", "Random", "open", "StringIO",
    "BytesIO", "TemporaryDirectory", "NamedTemporaryFile", "Console", "ClientSession", "TCPConnector",
    "AsyncClient", "Client", "CapacityLimiter", "CollectorRegistry", "Gauge", "Histogram", "Summary", "lru_cache",
    "cache",
))  # fmt: skip
CACHES = frozenset({"lru_cache", "cache"})
DICT_WRITES = frozenset({"update", "setdefault", "pop", "popitem", "clear"})
PROCESS_WRITES = frozenset({"chdir", "fchdir", "putenv", "unsetenv", "load_dotenv"})


def findings(source: str) -> list[str]:
    """`line: what` for every statement of a module that keeps state, or that changes the process."""
    tree = ast.parse(source)
    found = [*_scope(tree.body, struct=False), *_anywhere(tree)]
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def _scope(body: list[ast.stmt], *, struct: bool) -> Iterator[tuple[int, str]]:
    """The findings of statements that run on import, in a module's or a class's body."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _decorators(node)
            case ast.ClassDef():
                yield from _scope(node.body, struct=any(_name(base) == "Struct" for base in node.bases))
            case ast.Assign(targets=targets, value=value) if not _is_all(targets, value):
                yield from _kept(value, ast.unparse(targets[0]))
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                # msgspec copies an empty display for every instance.
                if not (struct and isinstance(value, ast.List | ast.Dict | ast.Set) and _is_empty(value)):
                    yield from _kept(value, ast.unparse(target))
            case ast.AugAssign(target=target, value=value) | ast.Expr(value=ast.NamedExpr(target=target, value=value)):
                yield from _kept(value, ast.unparse(target))
            case ast.Expr(value=ast.Call() as call) if _name(call.func) == "basicConfig":
                yield call.lineno, "logging.basicConfig on import"
            case ast.With(items=items) | ast.AsyncWith(items=items):
                for item in items:
                    if item.optional_vars is not None:
                        yield from _kept(item.context_expr, ast.unparse(item.optional_vars))
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _scope(list(_nested(node)), struct=struct)


def _nested(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements in the blocks of a compound statement."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from _nested(child)


def _decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[int, str]]:
    for decorator in node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        if _name(function) in CACHES:
            yield node.lineno, f"{node.name} has a cache"


def _kept(value: ast.expr, target: str) -> Iterator[tuple[int, str]]:
    if why := _mutable(value):
        yield value.lineno, f"{target} is {why}"


def _mutable(value: ast.expr | None) -> str | None:
    """What makes the value of an expression mutable, or None."""
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp() | ast.GeneratorExp():
            return f"a {type(value).__name__}"
        case ast.Tuple(elts=parts) | ast.BoolOp(values=parts):
            return next(filter(None, map(_mutable, parts)), None)
        case ast.Starred(value=part) | ast.NamedExpr(value=part) | ast.Await(value=part):
            return _mutable(part)
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
            return _mutable(one) or _mutable(other)
        case ast.Lambda(args=arguments):
            return next(filter(None, map(_mutable, (*arguments.defaults, *arguments.kw_defaults))), None)
        case ast.Call(func=function, keywords=keywords):
            if _name(function) in MUTABLE:
                return f"made by {ast.unparse(function)}()"
            if isinstance(function, ast.Call) and _name(function.func) in CACHES:
                return f"made by {ast.unparse(function.func)}()"
            default = next((keyword.value for keyword in keywords if keyword.arg == "default"), None)
            return _mutable(default)
        case _:
            return None


def _anywhere(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What no function may do either."""
    for node in ast.walk(tree):
        match node:
            case ast.Global(names=names):
                yield node.lineno, f"global {', '.join(names)}"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for default in (*node.args.defaults, *node.args.kw_defaults):
                    if why := _mutable(default):
                        yield default.lineno, f"a default of {node.name} is {why}"
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in DICT_WRITES:
                if _name(owner.func if isinstance(owner, ast.Call) else owner) in ("environ", "globals"):
                    yield node.lineno, f"{ast.unparse(node.func)} changes the process"
            case ast.Call(func=function) if _name(function) in PROCESS_WRITES:
                yield node.lineno, f"{ast.unparse(function)} changes the process"
            case ast.Assign(targets=targets):
                yield from _process_targets(targets)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                yield from _process_targets([target])
            case ast.Delete(targets=targets):
                yield from _process_targets(targets)


def _process_targets(targets: list[ast.expr]) -> Iterator[tuple[int, str]]:
    for target in targets:
        owner = target.value if isinstance(target, ast.Subscript) else target
        if isinstance(owner, ast.Call):
            owner = owner.func
        name = _name(owner)
        if name == "environ" and (isinstance(target, ast.Subscript) or isinstance(owner, ast.Attribute)):
            yield target.lineno, f"{ast.unparse(target)} changes the process"
        if name in ("globals", "vars") and isinstance(target, ast.Subscript):
            yield target.lineno, f"{ast.unparse(target)} changes a module"


def _is_all(targets: list[ast.expr], value: ast.expr) -> bool:
    names_only = isinstance(value, ast.List | ast.Tuple) and all(isinstance(item, ast.Constant) for item in value.elts)
    return [_name(target) for target in targets] == ["__all__"] and names_only


def _is_empty(value: ast.List | ast.Dict | ast.Set) -> bool:
    return not (value.keys if isinstance(value, ast.Dict) else value.elts)


def _name(node: ast.expr) -> str | None:
    """The last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.id if isinstance(node, ast.Name) else None


def test_the_packages_are_found(packages: dict[str, Path]):
    assert {"gaia_core", "gaia_http", "gaia_files"} <= set(packages)


def scan(packages: dict[str, Path]) -> list[str]:
    return [
        f"{package}/{path.relative_to(folder)}:{finding}"
        for package, folder in packages.items()
        for path in sorted(folder.rglob("*.py"))
        for finding in findings(path.read_text("utf-8"))
    ]


def test_no_package_has_module_state(packages: dict[str, Path]):
    assert scan(packages) == []


# The scan finds what is planted.

PLANTED = (
    "TOOLS = {}",
    "TOOLS = []",
    "TOOLS = {1}",
    "TOOLS: dict[str, int] = {}",
    "TOOLS: list[int] = [1]",
    "A = B = []",
    "TOOLS = [x for x in ()]",
    "TOOLS = {x: x for x in ()}",
    "TOOLS = {x for x in ()}",
    "TOOLS = (x for x in ())",
    "TOOLS = ([],)",
    "TOOLS = (1, (2, {}))",
    "A, B = 1, []",
    "TOOLS = None or {}",
    "TOOLS = [] if True else ()",
    "TOOLS = [0] * 3",
    "TOOLS = {} | {}",
    "TOOLS = (*[1], [])",
    "(TOOLS := [])",
    "TOOLS = lambda x=[]: x",
    "TOOLS = dict()",
    "TOOLS = list()",
    "TOOLS = set()",
    "TOOLS = bytearray()",
    "TOOLS = dict.fromkeys('ab')",
    "TOOLS = sorted('ab')",
    "TOOLS = 'a b'.split()",
    "TOOLS = iter(())",
    "import collections\nTOOLS = collections.defaultdict(list)",
    "from collections import deque\nTOOLS = deque()",
    "from collections import Counter\nTOOLS = Counter()",
    "from collections import OrderedDict\nT = OrderedDict()",
    "import weakref\nTOOLS = weakref.WeakKeyDictionary()",
    "import weakref\nTOOLS = weakref.WeakSet()",
    "import itertools\nIDS = itertools.count()",
    "import itertools\nIDS = itertools.cycle('ab')",
    "import contextvars\nNOW = contextvars.ContextVar('now')",
    "from contextvars import ContextVar\nN: ContextVar[int] = ContextVar('n')",
    "import threading\nLOCK = threading.Lock()",
    "import threading\nLOCAL = threading.local()",
    "import asyncio\nLOCK = asyncio.Lock()",
    "import asyncio\nQUEUE: asyncio.Queue[int] = asyncio.Queue()",
    "import asyncio\nSLOTS = asyncio.Semaphore(1)",
    "import asyncio\nLOOP = asyncio.new_event_loop()",
    "import aiohttp\nCLIENT = aiohttp.ClientSession()",
    "from rich.console import Console\nOUT = Console()",
    "from concurrent.futures import ThreadPoolExecutor\nPOOL = ThreadPoolExecutor()",
    "import random\nR = random.Random()",
    "LOG = open('log')",
    "import types\nSTATE = types.SimpleNamespace()",
    "import functools\n@functools.lru_cache\ndef f(): ...",
    "from functools import lru_cache\n@lru_cache(3)\ndef f(): ...",
    "from functools import cache\n@cache\nasync def f(): ...",
    "class A:\n    @functools.cache\n    def f(self): ...",
    "import functools\nf = functools.lru_cache(len)",
    "import functools\nf = functools.lru_cache(3)(len)",
    "class A:\n    tools = {}",
    "class A:\n    tools: list[int] = []",
    "class A:\n    tools = set()",
    "@attrs.frozen\nclass A:\n    tools: list = []",
    "@attrs.frozen\nclass A:\n    tools: list = attrs.field(default=[])",
    "class A:\n    class B:\n        tools = []",
    "class A(Struct):\n    tools: list = [1]",
    "class A(Struct):\n    tools = []",
    "class A:\n    __slots__ = ['a']",
    "def f(x=[]): ...",
    "def f(*, x={}): ...",
    "class A:\n    def f(self, x=set()): ...",
    "def f():\n    def g(x=[]): ...",
    "def f(): ...\nf.seen = []",
    "if True:\n    TOOLS = []",
    "try:\n    A = 1\nexcept E:\n    A = []",
    "try:\n    A = 1\nfinally:\n    B = {}",
    "for x in ():\n    A = []",
    "while False:\n    A = []",
    "with f():\n    A = []",
    "with open('x') as FILE:\n    pass",
    "match 1:\n    case 1:\n        A = []",
    "A = 1\nA += []",
    "__all__ = [name for name in dir()]",
    "__all__ = [x, y]",
    "__all__ = dict()",
    "def f():\n    global x\n    x = 1",
    "class A:\n    def f(self):\n        global x, y",
    "import os\nos.environ['A'] = 'b'",
    "import os\ndef f():\n    os.environ['A'] = 'b'",
    "from os import environ\nenviron['A'] = ''",
    "import os\nos.environ.update(A='b')",
    "import os\nos.environ.setdefault('A', 'b')",
    "import os\nos.environ |= {}",
    "import os\ndel os.environ['A']",
    "import os\nos.environ = {}",
    "import os\nos.putenv('A', 'b')",
    "import os\nos.chdir('/')",
    "import os\ndef f():\n    os.chdir('/')",
    "import contextlib\ndef f():\n    with contextlib.chdir('/'): ...",
    "import dotenv\ndotenv.load_dotenv()",
    "from dotenv import load_dotenv\ndef f():\n    load_dotenv()",
    "import logging\nlogging.basicConfig()",
    "from logging import basicConfig\nif True:\n    basicConfig(level=10)",
    "def f():\n    globals()['x'] = 1",
    "globals().update(x=1)",
    "globals()['x'] = 1",
)


@pytest.mark.parametrize("source", PLANTED)
def test_planted_state_is_found(source):
    assert findings(f'"""A module."""\n\n{source}\n') != []


def test_planted_state_is_found_in_any_module_of_a_package(packages, tmp_path):
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "__init__.py").write_text("TOOLS = ()\n")
    (tmp_path / "deep" / "down" / "_registry.py").write_text("NAME = 'a'\nTOOLS = {}\n")

    assert scan({**packages, "planted": tmp_path}) == ["planted/deep/down/_registry.py:2: TOOLS is a Dict"]


def test_a_finding_says_where_and_what():
    assert findings("X = 1\n\nclass A:\n    seen: set[int] = set()\n") == ["4: seen is made by set()"]


FINE = textwrap.dedent(
    """
    import logging, re, typing
    __all__ = ["a", "b"]
    NAMES = ("a", "b")
    KINDS = frozenset({"a", "b"})
    BOTH = frozenset(["a"]) | frozenset("b")
    PAIRS = tuple((name, 1) for name in [1, 2])
    TEXT = ", ".join(["a", "b"])
    PATTERN = re.compile("a")
    LOGGER = logging.getLogger(__name__)
    JSON = dict[str, typing.Any]
    Hook: typing.TypeAlias = "typing.Callable[[int], list[str]]"
    T = typing.TypeVar("T")
    first, second = NAMES
    later = lambda: []
    LIMIT: int

    class Kind(enum.Enum):
        A = "a"

    class Wire(msgspec.Struct, forbid_unknown_fields=True):
        tools: list[str] = []
        extra: dict[str, int] = {}
        more: list[str] = msgspec.field(default_factory=list)

    @attrs.define
    class Writer:
        __slots__ = ("a",)
        seen: dict[str, int] = attrs.field(factory=dict)

        def write(self, x: tuple = ()) -> list[int]:
            self.seen["a"] = 1
            found = [1]
            count = 0
            def inner():
                nonlocal count
            return found

    def read(environ=None):
        logging.basicConfig()
        environ = os.environ if environ is None else environ
        return os.environ.get("A"), {**os.environ}, cached_property
    """
)


def test_what_is_no_state_is_not_found():
    assert findings(FINE) == []
