"""Undo each fix in a copy of this tree, run the tests of its area, and print which of them fail.

    python -m tests.reverts               all, about half an hour
    python -m tests.reverts index-0 calls these, and the whole table of a file, such as calls

Exits with status 1 if no test notices a revert, or if a test fails without any.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.reverts.reverts import ROOT, Revert, all_reverts

_SECONDS = 300
_UNUSED = ("cacheprovider", "schemathesis", "faker")
_PACKAGES = ("", "http", "toolsets/files", "toolsets/mcp")
_OPTIONS = ("-q", "--tb=no", "--hypothesis-profile=reverts", *(f"-pno:{name}" for name in _UNUSED))
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
    with tempfile.TemporaryDirectory(prefix="gaia-reverts-") as folder:
        tree = Path(folder)
        _copy(tree)
        if failed := _failing(tree, {path for each in chosen for path in each.tests}):
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
    """Copy the files that git knows or would add; packages are found in the copy by PYTHONPATH."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _failing(tree: Path, paths: Iterable[str]) -> list[str]:
    """The tests at *paths* that fail, each as `file::test`."""
    found = os.pathsep.join(str(tree / package) for package in _PACKAGES)
    env = {**os.environ, "PYTHONPATH": found, "PYTHONPYCACHEPREFIX": str(tree / ".pycache")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # to compile everything again for each revert takes 5 s
    command = [sys.executable, "-m", "pytest", *_OPTIONS, *sorted(paths)]
    ended = subprocess.Popen(command, cwd=tree, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        output, _ = ended.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(ended.pid, signal.SIGKILL)
        ended.communicate()
        return [_HUNG]
    if ended.returncode not in (0, 1):  # what does not import shows nothing
        raise SystemExit(f"pytest ended with status {ended.returncode}:\n{output}")
    return _FAILED.findall(output)


def _listed(failed: Sequence[str]) -> str:
    """*failed*, those that differ by their parameters as one with their number."""
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(Counter(failed).items()))


if __name__ == "__main__":
    raise SystemExit(main())
