"""Every code block of the documentation runs, or says above itself why it doesn't and is checked for its syntax."""

import asyncio
import threading
from pathlib import Path

import pytest

from gaia_core.testing import StrictEndpoint
from tests.docs.blocks import Page, blocks_of

ROOT = Path(__file__).parents[2]
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))


@pytest.fixture(scope="session")
def endpoint():
    """A model's endpoint, which answers "Hello" to everything, on a loop of its own."""
    loop, server = asyncio.new_event_loop(), StrictEndpoint()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    yield server.url
    asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def page(tmp_path, endpoint):
    (tmp_path / "home").mkdir()
    (tmp_path / "page").mkdir()
    page = Page(tmp_path / "page", endpoint)
    yield page
    page.close()


@pytest.mark.parametrize("name", [name for name in PAGES if list(blocks_of((ROOT / name).read_text()))])
def test_the_code_of_a_page_runs(page, name):
    for block in blocks_of((ROOT / name).read_text()):
        try:
            page.run(block)
        except Exception as error:
            raise AssertionError(f"{name}:{block.line}: {error}") from error


def test_wrong_code_is_noticed(page):
    text = "```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n\n```sh\nfalse\n```\n"
    text += '\n```toml\n[agents.a]\nmodle = "x"\n```\n'
    first, *wrong = blocks_of(text)

    page.run(first)

    for block in wrong:
        with pytest.raises(Exception, match=r"AssertionError|^\s*$|unknown key"):
            page.run(block)


def test_code_that_is_not_run_has_a_reason_and_a_syntax(page):
    (block,) = blocks_of("<!-- not run: needs a printer -->\n\n```python\nprint(\n```\n")

    assert block.reason == "needs a printer"
    with pytest.raises(SyntaxError):
        page.run(block)


def test_a_fence_that_is_not_understood_is_no_text():
    with pytest.raises(ValueError, match="isn't closed"):
        list(blocks_of("```python title=x\nprint()\n```\n"))
