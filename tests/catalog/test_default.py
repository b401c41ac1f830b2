"""What there is without a configuration: an agent that reads the current folder, and the model that answers."""

import pytest

from gaia_core import Agent, Catalog, ConfigError, Runtime, Toolset, load_catalog, scripted
from gaia_core.catalog import ModelSpec, Plugin, with_model
from gaia_core.catalog import _default_catalog as default
from gaia_core.events import TurnEnded
from gaia_core.models import EndpointConfig, Found, OpenEndpoints

FOUND = (
    Found("Lemonade", "http://127.0.0.1:13305/api/v1", ("Qwen3", "Llama")),
    Found("Ollama", "http://127.0.0.1:11434/v1", ("gemma",)),
)


async def nothing() -> tuple[Found, ...]:
    return ()


async def two() -> tuple[Found, ...]:
    return FOUND


async def never() -> tuple[Found, ...]:
    raise AssertionError("nobody should look around")


@pytest.fixture
def installed(monkeypatch):
    """Say whether the embedded model's runtime is installed."""

    def installed(there: bool) -> None:
        monkeypatch.setattr(default, "find_spec", lambda name: object() if there and name == "xllamacpp" else None)

    return installed


def test_without_a_configuration_there_is_an_agent_that_reads_the_current_folder(tmp_path):
    catalog = load_catalog(environ={}, cwd=tmp_path)
    assert catalog.default_agent == "assistant"
    agent = catalog.agent("assistant")
    assert agent.tools.effects == {"read"}
    assert "read_file" in agent.tools
    assert {dict(member.resource.arguments)["root"] for member in agent.tools.members} == {tmp_path}
    assert catalog.problems == ()
    assert load_catalog(environ={}, cwd=tmp_path) == catalog


def test_without_the_files_toolset_the_agent_has_no_tools_and_it_is_said(tmp_path):
    catalog = load_catalog(environ={}, cwd=tmp_path, plugins={})
    assert catalog.agent("assistant").tools.names == ()
    (problem,) = catalog.problems
    assert "'files' is not installed" in problem.message


def _broken(root: str) -> Toolset:
    raise RuntimeError("out of paper")


def _other(folder: str) -> Toolset:
    return Toolset("none")


@pytest.mark.parametrize(("factory", "word"), [(_broken, "out of paper"), (_other, "'root'")])
def test_a_files_toolset_that_is_broken_leaves_an_agent_without_tools(tmp_path, factory, word):
    catalog = load_catalog(environ={}, cwd=tmp_path, plugins={"files": Plugin("files", factory)})
    assert catalog.agent("assistant").tools.names == ()
    (problem,) = catalog.problems
    assert word in problem.message


def test_a_configuration_that_does_not_use_files_does_not_mind_that_it_is_broken(load):
    plugins = {"files": Plugin("files", _broken)}
    assert load("[agents.a]", plugins=plugins).problems == ()


def test_the_environment_may_name_an_endpoint(tmp_path):
    environ = {"GAIA_MODEL_URL": "http://127.0.0.1:1/v1", "GAIA_MODEL": "m"}
    model = load_catalog(environ=environ, cwd=tmp_path, plugins={}).model("local")
    assert model.open == OpenEndpoints((EndpointConfig(url="http://127.0.0.1:1/v1", model="m"),))
    assert "GAIA_MODEL_URL" in model.description
    with pytest.raises(ConfigError, match="GAIA_MODEL_URL: "):
        load_catalog(environ={"GAIA_MODEL_URL": "x"}, cwd=tmp_path, plugins={})


async def test_a_configured_model_comes_first(tmp_path):
    catalog = load_catalog(environ={"GAIA_MODEL_URL": "http://127.0.0.1:1/v1"}, cwd=tmp_path)
    assert await with_model(catalog, environ={}, discover=never) is catalog


async def test_then_one_that_runs_here(tmp_path, installed):
    installed(True)
    catalog = await with_model(load_catalog(environ={}, cwd=tmp_path), environ={}, discover=two)
    model = catalog.model("local")
    assert model.open == OpenEndpoints((EndpointConfig(url="http://127.0.0.1:13305/api/v1", model="Qwen3"),))
    assert model.kind == "endpoint"
    for word in ("Qwen3", "Lemonade", "found running here"):
        assert word in model.description


async def test_then_the_embedded_one(tmp_path, installed):
    installed(True)
    before = load_catalog(environ={}, cwd=tmp_path)
    catalog = await with_model(before, environ={}, discover=nothing)
    assert catalog.model("local").kind == "embedded"
    assert catalog.model("local").slots == 4
    assert "tiny" in catalog.model("local").description
    assert catalog.default_agent == before.default_agent


async def test_the_default_agent_has_three_tools_on_the_embedded_model_and_another_one_keeps_its_own(
    tmp_path, installed
):
    installed(True)
    catalog = await with_model(load_catalog(environ={}, cwd=tmp_path), environ={}, discover=nothing)
    (agent,) = catalog.agents
    assert set(agent.tools.names) == {"list_files", "read_file", "search_files"}
    assert "assistant has 3 of its 5 tools" in catalog.model("local").description

    (tmp_path / "gaia.toml").write_text('[agents.mine]\ntools = [{ use = "files" }]\n')
    mine = await with_model(load_catalog(environ={}, cwd=tmp_path), environ={}, discover=nothing)
    assert "find_files" in mine.agent("mine").tools.names
    assert "tools" not in mine.model("local").description


@pytest.mark.parametrize(("named", "said"), [("0.5b", "0.5B"), ("1.5b", "1.5B")])
async def test_the_embedded_one_is_named_by_its_size(tmp_path, installed, named, said):
    installed(True)
    environ = {"GAIA_EMBEDDED_MODEL": named, "GAIA_CACHE": str(tmp_path)}
    catalog = await with_model(load_catalog(environ={}, cwd=tmp_path), environ=environ, discover=nothing)
    assert said in catalog.model("local").description


async def test_then_none_and_every_turn_says_what_to_do(tmp_path, installed):
    installed(False)
    catalog = await with_model(load_catalog(environ={}, cwd=tmp_path), environ={}, discover=nothing)
    assert catalog.model("local").kind == "none"
    async with Runtime(catalog) as runtime:
        events = [event async for event in runtime.turn("assistant", "Hi")]
    assert isinstance(events[-1], TurnEnded)
    assert events[-1].error.type == "not_ready"
    for word in ("Lemonade", "Ollama", "url", "gaia model pull"):
        assert word in events[-1].error.message


async def test_looking_around_can_be_switched_off(tmp_path, installed):
    installed(True)
    catalog = await with_model(load_catalog(environ={}, cwd=tmp_path), environ={"GAIA_DISCOVER": "0"}, discover=never)
    assert catalog.model("local").kind == "embedded"


async def test_other_models_stay(load, installed):
    text = '[models.big]\nurl = "http://127.0.0.1:1/v1"\n[agents.a]\n[agents.b]\nmodel = "big"'
    before = load(text)
    catalog = await with_model(before, environ={}, discover=two)
    assert [model.name for model in catalog.models] == ["big", "local"]
    assert catalog.model("big") == before.model("big")


async def test_nobody_looks_around_when_no_agent_needs_it():
    catalog = Catalog.of(Agent("a", model="m"), models={"m": scripted("Hi")})
    assert await with_model(catalog, environ={}, discover=never) is catalog


async def test_what_was_found_makes_equal_catalogs(tmp_path):
    one, other = [await with_model(load_catalog(environ={}, cwd=tmp_path), environ={}, discover=two) for _ in range(2)]
    assert one == other
    assert hash(one) == hash(other)
    assert isinstance(one.model("local"), ModelSpec)
