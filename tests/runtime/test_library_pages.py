"""The Python blocks of the library's pages run, each on its own, and pass a strict type check."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("library.md", "from-gaia.md")
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block, tmp_path):
    (tmp_path / "block.py").write_text(block, encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, "-W", "error", "block.py"], check=False, cwd=tmp_path, capture_output=True, text=True
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout


def test_the_blocks_of_the_library_pass_mypy_strict(tmp_path):
    for number, param in enumerate(BLOCKS):
        (tmp_path / f"block_{number}.py").write_text(param.values[0], encoding="utf-8")
    (tmp_path / "wrong.py").write_text(
        "from gaia_core import Agent, run, tool\n\n\n"
        '@tool\ndef add(a: int) -> int:\n    """Add."""\n    return a\n\n\n'
        'reveal_type(add(1))\nadd("x")\n\n\n'
        'async def main() -> None:\n    n: str = await run(Agent("a"), "?", answer=int)\n',
        encoding="utf-8",
    )

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *sorted(map(str, tmp_path.glob("*.py")))],
        check=False, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip

    told = [line for line in checked.stdout.splitlines() if ": error:" in line or ": note: Revealed" in line]
    assert [Path(line.partition(":")[0]).name for line in told] == ["wrong.py"] * 3, checked.stdout
    assert '"int"' in told[0] or "builtins.int" in told[0]
    assert 'Argument 1 to "__call__" of "ToolOf" has incompatible type "str"; expected "int"' in told[1]
    assert 'incompatible type "type[int]"; expected "type[str]"' in told[2]
