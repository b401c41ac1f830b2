"""Every table of the benchmarks runs; one that fails is reported, hides no other, and shows in the exit status."""

import os
import subprocess
import sys

import pytest

from benchmarks.__main__ import TABLES


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command, env = [sys.executable, "-m", "benchmarks", *arguments], {**os.environ, **environ}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=env)


def rows(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("| ") and any(map(str.isdigit, line))]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_runs(table):
    ended = run("--brief", table)
    assert ended.returncode == 0, ended.stderr
    assert rows(ended.stdout)


def test_two_versions_of_the_server_are_compared():
    ended = run("paired", ".", "--figures", "request", "turn", "--starts", "1", "--pairs", "1")
    assert ended.returncode == 0, ended.stderr
    assert len(rows(ended.stdout)) == 2


@pytest.mark.parametrize("command", ["soak", "crashes", "isolation", "paired", "questions"])
def test_what_runs_for_minutes_still_begins(command):
    ended = run(command, "--help")
    assert ended.returncode == 0, ended.stderr


def test_a_table_that_fails_is_reported_and_the_next_one_runs(tmp_path):
    (tmp_path / "uvloop.py").write_text("raise ImportError('no such loop')")
    ended = run("--brief", "server", "seeing", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 1
    assert "no such loop" in ended.stderr
    assert "failed: server " in ended.stderr
    assert "A turn that is seen" in ended.stdout


def test_an_unknown_table_is_refused_with_the_known_names():
    ended = run("journal", "jurnal")
    assert ended.returncode == 2
    assert "unknown table jurnal" in ended.stderr
    assert "tool_search" in ended.stderr
