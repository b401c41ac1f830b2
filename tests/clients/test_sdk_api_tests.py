"""The official Python SDK's own API tests, against our server; exceptions have reasons."""

import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree as ET

import openai
import pytest

LIST = Path(__file__).with_name("cannot_apply.txt")
ROOMS = "tests/api_resources"
RUN_SECONDS = 400


def listed() -> tuple[str, ...]:
    lines = LIST.read_text().splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def whole(line: str) -> bool:
    """Whether it names a file or a folder."""
    return "::" not in line


@pytest.fixture(scope="module")
def outcomes(server, sdk_source, tmp_path_factory) -> dict[str, list[str]]:
    """By `FILE::TEST[CLIENT]`, how the sync and the async one ended: `passed`, or failure, error, skipped and why."""
    rooms = sdk_source / ROOMS
    left_out = tuple(line for line in listed() if whole(line))
    files = sorted(path.relative_to(rooms).as_posix() for path in rooms.rglob("test_*.py"))
    run = [f"{ROOMS}/{file}" for file in files if not file.startswith(left_out)]
    report = tmp_path_factory.mktemp("sdk") / "report.xml"
    # The distribution's own options want to run in parallel.
    options = ["-o", "addopts=", "-p", "no:cacheprovider", "-q", "--tb=line", f"--junitxml={report}"]
    options += ["-k", "not test_path_params"]  # those look at the client's own arguments and ask no server
    environ = os.environ | {"TEST_API_BASE_URL": server.base_url}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *run],
        cwd=sdk_source,
        env=environ,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stdout[-4_000:] + ended.stderr[-4_000:]
    found: dict[str, list[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        module = case.get("classname").removeprefix("tests.api_resources.").rpartition(".")[0]
        name = f"{module.replace('.', '/')}.py::{case.get('name')}"
        words = [f"{child.tag}: {child.get('message', '')[:300]}" for child in case if child.tag != "properties"]
        found.setdefault(name, []).append(next(iter(words), "passed"))
    return found


def fits(name: str, pattern: str) -> bool:
    """Whether the line *pattern* is about the test *name*."""
    return fnmatchcase(name, pattern.replace("[", "[[]")) or fnmatchcase(name.partition("[")[0], pattern)


def passes(how: list[str]) -> bool:
    return all(each == "passed" or each.startswith("skipped") for each in how)


def test_the_distribution_is_that_of_the_installed_sdk(sdk_source):
    assert sdk_source.name == f"openai-{openai.__version__}"


def test_every_test_that_can_apply_passes(outcomes):
    patterns = tuple(line for line in listed() if not whole(line))

    broken = {
        name: [each for each in how if each != "passed"]
        for name, how in outcomes.items()
        if not passes(how) and not any(fits(name, pattern) for pattern in patterns)
    }

    assert broken == {}
    assert sum(how.count("passed") for how in outcomes.values()) > 100


@pytest.mark.parametrize("pattern", [line for line in listed() if not whole(line)])
def test_what_cannot_apply_still_fails(outcomes, pattern):
    matched = {name: how for name, how in outcomes.items() if fits(name, pattern)}

    assert matched
    assert [name for name, how in matched.items() if any(each == "passed" for each in how)] == []


@pytest.mark.parametrize("line", [line for line in listed() if whole(line)])
def test_what_is_left_out_as_a_whole_is_there(sdk_source, line):
    assert (sdk_source / ROOMS / line).exists()
