"""kill -9 at every point of a turn: after the restart it ends, once, and no tool that is not idempotent ran twice."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

SCRIPT = Path(__file__).with_name("crashing.py")
ROOT = SCRIPT.parents[2]
APPENDS = 6
"""After its claim: answered; done twice; answered; done; answered and ended."""

AT = ("claim", *range(1, APPENDS + 1))
POINTS = (*(f"{side}:{n}" for n in AT for side in ("before", "after")), "in:once", "in:again")


def run(folder: Path, crash: str = "") -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(ROOT), *sys.path))
    environ = {**os.environ, "CRASH": crash, "PYTHONPATH": paths}
    words = [sys.executable, SCRIPT, folder]
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("point", POINTS)
def test_a_turn_goes_on_after_its_process_was_killed(point: str, tmp_path: Path):
    killed = run(tmp_path, point)
    assert killed.returncode == -9, killed.stderr

    after = run(tmp_path)

    if point == "before:claim":  # nothing was promised yet
        assert "has had no turn" in after.stderr
        return
    assert after.returncode == 0, after.stderr
    events = [msgspec.json.decode(line.partition(" ")[2]) for line in after.stdout.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds.count("TurnEnded") == 1
    assert events[-1]["type"] == "TurnEnded"
    assert (events[-1]["status"], events[-1]["text"]) == ("completed", "All is done, in several words.")
    assert ("TurnResumed" in kinds) == (point != f"after:{APPENDS}")

    assert len(lines(tmp_path / "once")) <= 1
    outcomes = [event["outcome"] for event in events if event["type"] == "ToolEnded" and event["tool"] == "once"]
    assert outcomes in (["ok"], ["unknown"])
    if outcomes == ["ok"]:
        assert len(lines(tmp_path / "once")) == 1
    assert len(set(lines(tmp_path / "again"))) == 2  # two calls, each under one key however often it ran


def test_without_a_crash_nothing_is_resumed(tmp_path: Path):
    ran = run(tmp_path, "after:99")

    assert ran.returncode == 0, ran.stderr
    assert "TurnResumed" not in ran.stdout
    assert (len(lines(tmp_path / "once")), len(lines(tmp_path / "again"))) == (1, 2)
