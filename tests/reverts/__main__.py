"""Undo each fix in a copy of this tree, run the tests of its area, and print which of them fail.

    python -m tests.reverts                all: some seconds of processor time each
    python -m tests.reverts index-0 calls  these, and the whole table of a file, such as calls

Exits with status 1 if no test notices a revert, or if a test fails without any.
"""

import argparse
import importlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from tests.reverts.reverts import ROOT, Revert, all_reverts

_SECONDS, _ALL_SECONDS = 120, 1_800
_PACKAGES = ("", "http", "toolsets/files", "toolsets/mcp")
_PRELOADED = ("pytest", "pytest_asyncio.plugin", "hypothesis.strategies", "hypothesis.extra", "syrupy", "xdist.plugin")
_PRELOADED += ("aiohttp.web", "anyio.pytest_plugin", "asyncpg", "json_repair", "jsonschema_rs", "litestar", "mcp")
"""What tests import besides this project: imported once, before each run is forked."""

_OPTIONS = ("-q", "--tb=no", "--assert=plain", "--hypothesis-profile=reverts")
_OPTIONS += ("-pno:cacheprovider", "-pno:schemathesis", "-pno:faker")
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?([^/\s]+\.py::[^\[\s]+)", re.MULTILINE)
_HUNG = "(the tests do not end)"


def main() -> int:
    """Parse the command line and run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.reverts", description=__doc__)
    parser.add_argument("names", nargs="*", help="reverts or tables to run; all by default")
    names = frozenset(parser.parse_args().names)
    chosen = [each for each in all_reverts() if not names or {each.name, each.table} & names]
    if unknown := names - {each.name for each in chosen} - {each.table for each in chosen}:
        parser.error(f"there is no revert or table {', '.join(sorted(unknown))}")
    for name in _PRELOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="gaia-reverts-") as folder:
        tree = Path(folder)
        _copy(tree)
        if failed := _failing(tree, {path for each in chosen for path in each.tests}, _ALL_SECONDS):
            parser.exit(1, f"These tests fail without any revert: {_listed(failed)}\n")
        return _run(tree, chosen)


def _run(tree: Path, chosen: Sequence[Revert]) -> int:
    _print("| row | reverted | tests that fail |\n|---|---|---|")
    holes = 0
    for each in chosen:
        before = each.apply(tree)
        try:
            failed = _failing(tree, each.tests)
        finally:
            (tree / each.file).write_text(before)
        holes += not failed
        _print(f"| {each.row} | `{each.name}` | {_listed(failed) or '**none**'} |")
    return 1 if holes else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _copy(tree: Path) -> None:
    """Copy the files that git knows or would add."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _failing(tree: Path, paths: Iterable[str], seconds: int = _SECONDS) -> list[str]:
    """The tests at *paths* that fail, each as `file::test`."""
    forking = multiprocessing.get_context("fork")
    output = tree / ".reverts"
    running = forking.Process(target=_pytest, args=(tree, sorted(paths), output))
    running.start()
    try:
        running.join(seconds)
    finally:
        if hung := running.is_alive():  # also where somebody interrupts this
            os.killpg(running.pid or 0, signal.SIGKILL)
            running.join()
    if hung:
        return [_HUNG]
    if running.exitcode not in (0, 1):  # what does not import shows nothing
        raise SystemExit(f"pytest ended with status {running.exitcode}:\n{output.read_text()}")
    return _FAILED.findall(output.read_text())


def _pytest(tree: Path, paths: Sequence[str], output: Path) -> None:
    """Run in the forked process: the tests of *tree*, whose packages it imports and nothing of this checkout."""
    os.setsid()
    os.chdir(tree)
    found = [str(tree / package) for package in _PACKAGES]
    sys.path[:0] = found
    sys.pycache_prefix = str(tree / ".pycache")
    sys.dont_write_bytecode = False  # to compile everything again for each revert takes 5 s
    os.environ["PYTHONPATH"] = os.pathsep.join(found)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    import pytest

    said = io.StringIO()
    with redirect_stdout(said):
        status = pytest.main([*_OPTIONS, *paths])
    output.write_text(said.getvalue())
    os._exit(int(status))


def _listed(failed: Sequence[str]) -> str:
    """*failed*, those that differ by their parameters as one with their number."""
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(Counter(failed).items()))


if __name__ == "__main__":
    raise SystemExit(main())
