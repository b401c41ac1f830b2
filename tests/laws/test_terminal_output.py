"""Law: commands print by `echo`, which writes out what could steer a terminal; screens clean what they draw."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

EDGE = ("gaia_core/cli/terminal/_echo.py", "gaia_core/cli/terminal/_screen.py", "gaia_core/cli/terminal/_prompt.py")
"""What writes to the terminal itself."""
PROTOCOL = ("gaia_core/models/embedded/_child_process.py", "gaia_http/request/_pdf.py")
"""Children, whose output is read by their parent."""

CLICK = frozenset(("echo", "secho", "echo_via_pager", "prompt", "confirm", "style", "edit"))


def findings(source: str) -> list[str]:
    return [f"{node.lineno}: {ast.unparse(node.func)}" for node in _calls(source)]


def _calls(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        owner, _, method = name.rpartition(".")
        writes = method in ("write", "writelines") and owner in (
            *("sys.stdout", "sys.stderr", "sys.stdout.buffer", "sys.stderr.buffer", "sys.__stdout__", "sys.__stderr__"),
        )
        if name == "print" or (owner == "click" and method in CLICK) or writes or name == "logging.basicConfig":
            yield node


def test_nothing_is_printed_but_at_the_edge(packages: dict[str, Path]):
    found = [
        (f"{package}/{path.relative_to(folder)}", finding)
        for package, folder in packages.items()
        for path in sorted(folder.rglob("*.py"))
        for finding in findings(path.read_text("utf-8"))
    ]

    assert [each for each in found if each[0] not in (*EDGE, *PROTOCOL)] == []


@pytest.mark.parametrize(
    "source",
    [
        "print('a')",
        "click.echo('a')",
        "click.secho('a', err=True)",
        "click.confirm('a')",
        "sys.stdout.write('a')",
        "sys.stderr.buffer.write(b'a')",
        "logging.basicConfig()",
    ],
)
def test_what_prints_by_itself_is_found(source):
    assert findings(source) != []


def test_the_edge_is_fine():
    assert findings("echo('a')\necho_data('a')\nfile.write('a')\nscreen.line('a')") == []
