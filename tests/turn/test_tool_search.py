"""Search over tools: a core is sent, others are loaded for the session, and what was sent stays byte for byte."""

from itertools import pairwise

import attrs
import msgspec
import pytest

from gaia_core import (
    Agent,
    Catalog,
    ConfigError,
    Limits,
    Runtime,
    ScriptedModel,
    Toolset,
    call,
    scripted,
    tool,
)
from gaia_core.agent import ToolSearch
from gaia_core.facts import Answered, Done
from gaia_core.journal.sqlite import SQLiteJournal
from gaia_core.messages import Usage
from gaia_core.models import EmbeddingRequest, Embeddings, ModelError
from gaia_core.runtime import read_facts
from gaia_core.runtime._quota import NoQuota
from gaia_core.tools import ToolIndex, define
from gaia_core.turn import TurnOptions, TurnRequest
from gaia_core.turn.tool_search._vector_search import fused


def make(name: str, description: str, result: str = "Done."):
    @tool(name=name, description=description, effects="read")
    async def run() -> str:
        return result

    return run


TOOLS = Toolset(
    "office",
    (
        make("send_mail", "Send a letter by electronic mail."),
        make("list_invoices", "List the invoices of a customer."),
        make("payInvoice", "Pay one bill."),
        make("weather_today", "The weather of a city."),
        make("help", "Explain what can be done."),
    ),
    instructions="Ask {help} first.\nUse {send_mail} with care.",
)
CLERK = Agent("clerk", tools=TOOLS, search=ToolSearch(core={"help"}))


def sent(model: ScriptedModel) -> list[list[str]]:
    """The names of the tools of each request."""
    return [[definition.name for definition in request.tools] for request in model.requests]


async def talk(runtime: Runtime, *messages: str):
    session = await runtime.open("clerk", id="s")
    for message in messages:
        turn = await runtime.start(session, message)
        last = await turn.result()
        assert last.status == "completed", last
    return session


CORE = ["find_tools", "help", "read_result"]


async def test_what_is_found_is_loaded_and_can_be_called():
    model = scripted(call("find_tools", query="pay the invoice", limit=2), call("payInvoice"), "Paid.", "Hello.")
    async with Runtime(Catalog.of(CLERK, models={"local": model})) as runtime:
        session = await talk(runtime, "Pay it.", "Hello?")
        history = await runtime.history(session)

    loaded = [*CORE, "payInvoice", "list_invoices"]
    assert sent(model) == [CORE, loaded, loaded, loaded], "the session keeps what it loaded"
    assert "- payInvoice: Pay one bill." in str(history[2].content)
    assert history[4].content == "Done."


async def test_a_tool_that_was_loaded_steps_aside_for_the_clients_of_its_name():
    theirs = define("payInvoice", "The client's.", b"{}")
    model = scripted(call("find_tools", query="pay the invoice", limit=1), "Found.", call("payInvoice"))
    async with Runtime(Catalog.of(CLERK, models={"local": model})) as runtime:
        session = await talk(runtime, "Pay it.")
        turn = await runtime.start(session, TurnRequest("Pay it.", options=TurnOptions(client_tools=(theirs,))))
        last = await turn.result()

    assert last.status == "tool_calls"
    assert sorted(sent(model)[-1]) == [*CORE[:2], "payInvoice", CORE[2]]
    assert theirs in model.requests[-1].tools


async def test_the_prefix_that_was_sent_stays_byte_for_byte():
    model = scripted(
        call("find_tools", query="weather"), call("find_tools", query="mail"), call("find_tools", query="help"), "Done."
    )
    async with Runtime(Catalog.of(CLERK, models={"local": model})) as runtime:
        await talk(runtime, "Load them.")

    tools = [b"".join(definition.encoded for definition in request.tools) for request in model.requests]
    messages = [b"".join(request.encoded) for request in model.requests]
    for before, after in pairwise(tools):
        assert after.startswith(before)
    for before, after in pairwise(messages):
        assert after.startswith(before)
    assert sent(model)[-1] == [*CORE, "weather_today", "send_mail"], "what is in the core is loaded already"


async def test_instructions_come_with_the_tools_that_they_are_for():
    model = scripted(call("find_tools", query="mail"), "Done.")
    async with Runtime(Catalog.of(CLERK, models={"local": model})) as runtime:
        history = await runtime.history(await talk(runtime, "Mail."))

    assert CLERK.system_text == "Ask help first."
    assert "Use send_mail with care." in str(history[2].content)


async def test_what_is_loaded_is_in_the_record_and_survives_a_restart(tmp_path):
    place = tmp_path / "journal.sqlite"
    first = scripted(call("find_tools", query="weather"), "Done.")
    async with Runtime(Catalog.of(CLERK, models={"local": first}), SQLiteJournal(place)) as runtime:
        await talk(runtime, "Load it.")
        facts = await runtime.sessions.facts("", "s")
        assert [fact.loaded for _, fact in facts if isinstance(fact, Done)] == [("weather_today",)]
    second = scripted("Hello.")
    async with Runtime(Catalog.of(CLERK, models={"local": second}), SQLiteJournal(place)) as runtime:
        await talk(runtime, "Hello?")

    assert sent(second) == [[*CORE, "weather_today"]]


async def test_it_belongs_to_the_session_and_not_to_the_agent():
    model = scripted(call("find_tools", query="weather"), "Done.", "Hello.")
    async with Runtime(Catalog.of(CLERK, models={"local": model})) as runtime:
        await talk(runtime, "Load it.")
        other = await runtime.open("clerk", id="other")
        await (await runtime.start(other, "Hello?")).result()

    assert sent(model)[-1] == CORE


async def test_nothing_that_fits_is_said_in_words():
    model = scripted(call("find_tools", query="submarine"), "Well.")
    async with Runtime(Catalog.of(CLERK, models={"local": model})) as runtime:
        history = await runtime.history(await talk(runtime, "Dive."))

    assert "no tool fits 'submarine'" in str(history[2].content)


async def test_an_agent_without_a_search_is_sent_everything_and_has_the_fingerprint_that_it_had():
    model = scripted("Hello.")
    async with Runtime(Catalog.of(Agent("clerk", tools=TOOLS), models={"local": model})) as runtime:
        await talk(runtime, "Hello?")

    assert sent(model) == [list(TOOLS.names)]
    assert Agent("a", tools=TOOLS).fingerprint != Agent("a", tools=TOOLS, search=ToolSearch()).fingerprint


def test_a_core_that_is_not_there_and_a_name_that_is_the_searchs_own():
    with pytest.raises(
        ConfigError, match=r"the core names 'hlep', which is not one of its tools\. Did you mean 'help'"
    ):
        Agent("a", tools=TOOLS, search=ToolSearch(core={"hlep"}))
    with pytest.raises(ConfigError, match="find_tools is reserved for the tool search"):
        Agent("a", tools=TOOLS.renamed(help="find_tools"), search=ToolSearch())


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("invoices", "list_invoices"),
        ("paying a bill", "payInvoice"),
        ("What is the WEATHER like in the city?", "weather_today"),
        ("send_mail", "send_mail"),
        ("the of and", None),
        ("", None),
    ],
)
def test_the_best_is_first(query, best):
    found = ToolIndex.of(TOOLS).search(query, 3)

    assert (found[0] if found else None) == best


# By meaning.


class Vectors:
    """A model of two thoughts, money and weather: it makes vectors, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.broken = False

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        if self.broken:
            raise ModelError("connect", "the endpoint is gone")
        self.asked.append(request.count)
        texts = msgspec.json.decode(request.input)
        money = ("invoice", "bill", "cash")
        vectors = tuple((float(any(word in text for word in money)), 0.1, "weather" in text) for text in texts)
        return Embeddings(vectors, tokens=100 * request.count)


THINKER = attrs.evolve(CLERK, search=ToolSearch(core={"help"}, embeddings="vectors"))


async def found_for(runtime: Runtime, model: ScriptedModel, id: str) -> list[str]:
    """What a session of its own has loaded."""
    await (await runtime.start(await runtime.open("clerk", id=id), "Go.")).result()
    return [definition.name for definition in model.requests[-1].tools][len(CORE) :]


async def test_what_no_word_finds_is_found_by_its_meaning():
    vectors = Vectors()
    model = scripted(call("find_tools", query="cash", limit=2), "Done.", call("find_tools", query="cash"), "Done.")
    async with Runtime(Catalog.of(THINKER, models={"local": model, "vectors": vectors})) as runtime:
        assert sorted(await found_for(runtime, model, "one")) == ["list_invoices", "payInvoice"]
        await found_for(runtime, model, "two")

        assert vectors.asked == [len(TOOLS), 1, 1], "the tools' vectors are made once, a query's for each search"
        assert [load.busy for load in runtime.stats().models] == [0, 0]


class Meter(NoQuota):
    """A quota that only counts."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, int]] = []

    def ended(self, owner: str, usage: Usage) -> None:
        self.tokens.append((owner, usage.total_tokens))


async def test_what_vectors_take_is_in_the_usage_of_the_turn_and_in_its_owners_quota():
    meter = Meter()
    model = scripted(call("find_tools", query="cash"), "Done.", call("find_tools", query="cash"), "Done.")
    catalog = Catalog.of(THINKER, models={"local": model, "vectors": Vectors()})
    async with Runtime(catalog, quota=meter) as runtime:
        session = await runtime.open("clerk", id="s", owner="o")
        ended = [await (await runtime.start(session, "Go.")).result() for _ in range(2)]
        facts = [fact for _, fact in await read_facts(runtime.journal, "o", "s")]
        counted = runtime.stats().usage.total_tokens

    vectors = [fact.usage.input_tokens for fact in facts if isinstance(fact, Done)]
    steps = [fact.usage.total_tokens for fact in facts if isinstance(fact, Answered)]
    assert vectors == [100 * (len(TOOLS) + 1), 100], "the tools' are made once, by the first search"
    used = [sum(steps[:2]) + vectors[0], sum(steps[2:]) + vectors[1]]
    assert [each.usage.total_tokens for each in ended] == used
    assert meter.tokens == [("o", used[0]), ("o", used[1])]
    assert counted == sum(used)


async def test_what_vectors_take_counts_against_the_agents_limit():
    model = scripted(call("find_tools", query="cash"))
    thrifty = attrs.evolve(THINKER, limits=Limits(tokens=600))
    async with Runtime(Catalog.of(thrifty, models={"local": model, "vectors": Vectors()})) as runtime:
        ended = await (await runtime.start(await runtime.open("clerk"), "Go.")).result()

    assert ended.status == "limit"
    assert len(model.requests) == 1


async def test_words_and_meaning_are_joined_and_a_name_comes_first():
    model = scripted(call("find_tools", query="send_mail", limit=1), "Done.")
    async with Runtime(Catalog.of(THINKER, models={"local": model, "vectors": Vectors()})) as runtime:
        assert await found_for(runtime, model, "one") == ["send_mail"]

    assert fused(("a", "b"), ("b", "c")) == ("b", "a", "c")


async def test_without_vectors_the_search_goes_on_by_words(caplog):
    vectors = Vectors()
    vectors.broken = True
    model = scripted(call("find_tools", query="weather"), "Done.")
    async with Runtime(Catalog.of(THINKER, models={"local": model, "vectors": vectors})) as runtime:
        assert await found_for(runtime, model, "one") == ["weather_today"]

    assert "search over tools by words alone" in caplog.text


def test_the_model_that_makes_vectors_has_to_be_there():
    with pytest.raises(ConfigError, match="there is no model 'vectors'"):
        Catalog.of(THINKER, models={"local": scripted()})


@pytest.mark.parametrize("fault", ["too few", "another length"])
async def test_vectors_that_do_not_fit_are_no_failure_of_the_search(fault, caplog):
    class Odd(Vectors):
        async def embed(self, request: EmbeddingRequest) -> Embeddings:
            made = await super().embed(request)
            if fault == "too few":
                return Embeddings(made.vectors[1:])
            return Embeddings(tuple(vector[: 3 if request.count > 1 else 2] for vector in made.vectors))

    model = scripted(call("find_tools", query="weather"), "Done.")
    async with Runtime(Catalog.of(THINKER, models={"local": model, "vectors": Odd()})) as runtime:
        assert await found_for(runtime, model, "one") == ["weather_today"]

    assert "search over tools by words alone" in caplog.text
