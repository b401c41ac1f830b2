"""The examples do what they say, each with a scripted model."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gaia_core import Catalog, Runtime, TurnError, call, run, scripted

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def as_scripts(monkeypatch):
    """A script finds what lies beside it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "home.md").write_text("# Home\nThe rent is due on the third.\n")
    (tmp_path / "other.bin").write_text("rent\n")
    return tmp_path


def last(model, request: int) -> str:
    """What the model received last in its request of that number."""
    return model.requests[request].messages[-1].content


async def test_the_invoice_reader_corrects_a_sum_that_is_wrong():
    from invoice_reader import READER, Invoice, Line

    lines = '"number": "7", "lines": [{"text": "Tea", "cents": 250}, {"text": "Cake", "cents": 300}]'
    model = scripted(f'{{{lines}, "total_cents": 500}}', f'{{{lines}, "total_cents": 550}}')

    invoice = await run(READER, "Invoice 7 …", answer=Invoice, model=model)

    assert invoice == Invoice("7", [Line("Tea", 250), Line("Cake", 300)], 550)
    assert "the lines' sum is 550" in last(model, 1)


async def test_the_sql_analyst_reads_and_can_not_write(tmp_path):
    from sql_analyst import analyst

    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (customer TEXT, cents INTEGER)")
        database.execute("INSERT INTO orders VALUES ('Ada', 900)")
    model = scripted(
        call("tables"), call("query", sql="SELECT * FROM orders"), call("query", sql="DELETE FROM orders"), "Ada, 9.00"
    )

    assert await run(analyst(path), "Who spent most?", model=model) == "Ada, 9.00"
    assert "CREATE TABLE orders" in last(model, 1)
    assert last(model, 2) == '[["Ada",900]]'
    assert "readonly database" in last(model, 3)


async def test_the_librarian_finds_lines_and_is_helped_when_there_are_none(notes):
    from document_search import librarian

    model = scripted(call("search", words="Miete"), call("search", words="due RENT"), "On the third (home.md:2).")

    assert await run(librarian(notes), "When?", model=model) == "On the third (home.md:2)."
    assert "Try fewer words" in last(model, 1)
    assert last(model, 2) == '["home.md:2: The rent is due on the third."]'


async def test_the_editor_asks_its_reader(notes):
    from research_team import editor

    model = scripted(
        call("ask_reader", task="When is the rent due?"), call("search", words="rent"), "On the third.", "It is due …"
    )

    assert await run(editor(notes), "Write.", model=model) == "It is due …"
    assert model.requests[1].tools[0].name == "search"
    assert last(model, 3) == "On the third."


@pytest.mark.parametrize(("yes", "received"), [(True, "hello\n\nexit status 0"), (False, "the user said no")])
async def test_the_operator_runs_what_was_approved_and_nothing_else(yes, received):
    from careful_shell import OPERATOR, operate

    model, asked = scripted(call("run_program", program=[sys.executable, "-c", "print('hello')"]), "Done."), []

    def approve(wanted):
        asked.append(wanted.tool)
        return yes

    async with Runtime(Catalog.of(OPERATOR, models={"local": model})) as runtime:
        assert await operate(runtime, "Say hello.", approve) == "Done."
    assert asked == ["run_program"]
    assert received in last(model, 1)


async def test_without_anybody_to_ask_the_operator_runs_nothing(tmp_path):
    from careful_shell import OPERATOR

    made = tmp_path / "made"
    model = scripted(call("run_program", program=["touch", str(made)]), "I may not.")

    assert await run(OPERATOR, "Go.", model=model) == "I may not."
    assert not made.exists()


async def test_the_note_keeper_remembers_from_run_to_run(tmp_path):
    from note_keeper import KEEPER, say

    model = scripted("Noted.", "In Ulm.")
    catalog = Catalog.of(KEEPER, models={"local": model})

    assert await say(catalog, tmp_path / "notes.sqlite", "I moved to Ulm.") == "Noted."
    assert await say(catalog, tmp_path / "notes.sqlite", "Where do I live?") == "In Ulm."
    assert [m.content for m in model.requests[1].messages][-3:] == ["I moved to Ulm.", "Noted.", "Where do I live?"]
    with pytest.raises(TurnError, match="has run out"):
        await say(catalog, tmp_path / "notes.sqlite", "And now?")
