"""The code blocks of a Markdown page, and how they are run. CONTRIBUTING.md, "Documentation", has the convention.

| block | what happens |
|---|---|
| `python` | runs in the page's Python process, in the page's folder |
| `sh` | runs in the page's folder; a block that begins with `gaia serve` starts the page's server |
| `toml` | is read as a gaia.toml (a list of `tools` alone: as an agent's) |
| `json`, `yaml` | is parsed |
| `text`, or no language | is no code |
| any that begins with a comment such as `# gaia.toml` | is also written to that file; what uses it runs it |
| any behind `<!-- not run: REASON -->` | is only checked for its syntax |
| `<!-- first: COMMAND -->`, no block | is run as a `sh` block is; for what the reader has done already |

`./run` in a `sh` block means this workspace's `gaia`.
"""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import yaml

from gaia_core import load_catalog

_BLOCK = re.compile(
    r"^<!-- first: (?P<first>[^\n]+) -->$"
    r"|(?:^<!-- not run: (?P<reason>[^\n]+) -->\n\n?)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_RUN_SCRIPT = re.compile(r"(?m)^\./run (?:gaia )?")
_FENCE = re.compile(r"^ *```", re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.\w+)(?::[^\n]*)?\n")
_SERVER, _ENDPOINT = "http://127.0.0.1:4200", "http://127.0.0.1:8000/api/v1"

# Runs what it reads, one JSON text a line, in one namespace; answers each with a line.
_RUN = """
import json, sys
space = {"__name__": "__main__"}
for line in sys.stdin:
    exec(compile(json.loads(line), "block", "exec"), space)
    print("\\0", flush=True)
"""


@attrs.frozen
class Block:
    """A block: its language, its code, its line, and why it is not run ("": it is)."""

    language: str
    code: str
    line: int
    reason: str

    @property
    def file(self) -> str:
        """The file that its first line names; "": none."""
        named = _FILE.match(self.code)
        return named[1] if named else ""


def blocks_of(text: str) -> Iterator[Block]:
    """The code blocks of the page *text*; Sphinx's own are left out. Raises ValueError if one is unclear."""
    text = re.sub(r"(?ms)^```\{.*?^```$", lambda found: "\n" * found[0].count("\n"), text)
    blocks = list(_BLOCK.finditer(text))
    if 2 * sum(found["first"] is None for found in blocks) != len(_FENCE.findall(text)):
        raise ValueError("a code block isn't closed, or has more than its language behind the fence")
    for found in blocks:
        line = text.count("\n", 0, found.start()) + 1
        if found["first"] is not None:
            yield Block("sh", found["first"] + "\n", line, "")
            continue
        code = re.sub(f"(?m)^{found['indent']}", "", found["code"])
        yield Block(found["language"], code, line, found["reason"] or "")


@attrs.define
class Page:
    """A page while its blocks run: a folder of its own, and what was started in it."""

    folder: Path
    endpoint: str
    server: str = ""
    stack: ExitStack = attrs.field(factory=ExitStack)
    python: "subprocess.Popen[str] | None" = None

    @property
    def environ(self) -> dict[str, str]:
        """A fresh home, this workspace's commands, and a model that answers."""
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LD_LIBRARY_PATH", "TMPDIR")}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder.parent / "home"),
            "GAIA_MODEL_URL": self.endpoint,
            "GAIA_DISCOVER": "0",
            "MY_KEY": "a-key",
            "WEB_KEY": "a-key",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def text(self, block: Block) -> str:
        """The block's code, with the addresses of this page's server and of the model's endpoint."""
        code = block.code.replace(_ENDPOINT, self.endpoint)
        if block.language == "sh":
            code = _RUN_SCRIPT.sub("gaia ", code)
        if not code.startswith("gaia serve") and _SERVER in code and not block.reason:
            assert self.server, "starts no server: write a block with `gaia serve` before this one"
            code = code.replace(_SERVER, self.server)
        return code

    def run(self, block: Block) -> None:
        """Run or check *block*; raises AssertionError, or the error of what reads it."""
        code = self.text(block)
        if block.file and not block.reason:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        match block.language:
            case "python":
                compile(code, "block", "exec")
                if not block.reason and not block.file:
                    self._run_python(code)
            case "sh":
                self._run_shell(code, block)
            case "toml":
                self._read_toml(code, block)
            case "json":
                json.loads(code)
            case "yaml":
                yaml.safe_load(code)
            case other:
                assert other in ("", "text"), f"unknown language {other!r}"

    def _run_python(self, code: str) -> None:
        if self.python is None:
            self.python = self.stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _RUN], cwd=self.folder, env=self.environ, text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip
        assert self.python.stdin is not None
        assert self.python.stdout is not None
        assert self.python.stderr is not None
        self.python.stdin.write(json.dumps(code) + "\n")
        self.python.stdin.flush()
        overdue = threading.Timer(60, self.python.kill)
        overdue.start()
        ended = any(line.endswith("\0\n") for line in self.python.stdout)
        overdue.cancel()
        if not ended:
            raise AssertionError(self.python.stderr.read() or "the code ran for more than 60 s")

    def _run_shell(self, code: str, block: Block) -> None:
        if block.reason:
            checked = subprocess.run(["sh", "-n"], input=code, text=True, check=False, capture_output=True)
            assert checked.returncode == 0, checked.stderr
            return
        if code.startswith("gaia serve"):
            self.server = self.stack.enter_context(serving(code.split("#", 1)[0].split(), self.folder, self.environ))
            return
        ran = subprocess.run(
            ["timeout", "-k5", "60", "sh", "-euc", code], cwd=self.folder, env=self.environ, text=True,
            check=False, stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"

    def _read_toml(self, code: str, block: Block) -> None:
        value = tomllib.loads(code)
        if block.reason:
            return
        if tuple(value) == ("tools",):
            code = f"[agents.assistant]\n{code}"
        path = self.folder / "gaia.toml" if block.file == "gaia.toml" else self.folder.parent / "read.toml"
        path.write_text(code)
        load_catalog(path, environ=self.environ, cwd=self.folder)

    def close(self) -> None:
        """End what was started."""
        if self.python is not None and self.python.stdin is not None:
            self.python.stdin.close()
        self.stack.close()


class serving:  # used as a function
    """`gaia serve` on a free port, until the `with` block ends; its address."""

    def __init__(self, words: list[str], folder: Path, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name("gaia")), *words[1:], "--port", "0", "--drain-seconds", "0"],
            cwd=folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        said: list[str] = []
        for line in self._process.stdout:
            said.append(line)
            if found := re.search(r"http://[\w.]+:(\d+)", line):
                return f"http://127.0.0.1:{found[1]}"
        raise AssertionError("".join(said))

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()
