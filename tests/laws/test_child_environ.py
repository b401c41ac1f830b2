"""Law: what starts a process gives it the environment that `child_environ` makes, and no other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

STARTS = frozenset((
    "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell", "Popen", "run", "call",
    "check_call", "check_output", "getoutput", "getstatusoutput", "system", "popen", "fork", "forkpty", "posix_spawn",
    "posix_spawnp", "Process", "ProcessPoolExecutor", "run_process", "open_process", "stdio_client",
))  # fmt: skip


def findings(source: str) -> list[str]:
    return [f"{line}: {what}" for line, what in _found(ast.parse(source))]


def _found(tree: ast.Module) -> Iterator[tuple[int, str]]:
    made = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_made(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not _starts(node.func):
            continue
        given = next((keyword.value for keyword in node.keywords if keyword.arg == "env"), None)
        if not (_is_made(given) or (isinstance(given, ast.Name) and given.id in made)):
            yield node.lineno, f"{ast.unparse(node.func)} without env=child_environ(…)"


def _starts(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if name.startswith(("exec", "spawn")) and owner == "os":
        return True
    if name in ("run", "call", "fork", "system", "popen", "Process"):
        return owner in ("subprocess", "os", "multiprocessing", "anyio")
    return name in STARTS


def _is_made(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "child_environ"


def test_every_process_gets_an_environment_from_the_allow_list(packages: dict[str, Path]):
    assert packages.keys() >= {"gaia_core", "gaia_http", "gaia_mcp"}
    assert [
        f"{package}/{path.relative_to(folder)}:{finding}"
        for package, folder in packages.items()
        for path in sorted(folder.rglob("*.py"))
        for finding in findings(path.read_text("utf-8"))
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run(['a'])",
        "subprocess.Popen(['a'], env=os.environ)",
        "subprocess.check_output(['a'], env={**os.environ})",
        "asyncio.create_subprocess_exec('a', env=None)",
        "asyncio.create_subprocess_shell('a')",
        "environ = dict(os.environ)\nsubprocess.run(['a'], env=environ)",
        "os.system('a')",
        "os.execv('a', ['a'])",
        "os.posix_spawn('a', ['a'], os.environ)",
        "multiprocessing.Process(target=f)",
        "ProcessPoolExecutor()",
        "stdio_client(parameters)",
    ],
)
def test_a_process_with_another_environment_is_found(source):
    assert findings(source) != []


def test_a_process_with_the_made_environment_is_fine():
    made = "environ = child_environ(os.environ)\nsubprocess.run(['a'], env=environ)\nasyncio.run(f())"
    assert findings(made) == []
