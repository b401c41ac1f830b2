"""gaia.toml becomes a catalog; what it says wrong is named by its place, with the nearest right name."""

import os

import pytest

from gaia_core import ConfigError, Limits
from gaia_core.agent import ApprovalPolicy, ContextPolicy
from gaia_core.catalog import Retention, load_catalog
from gaia_core.catalog._default_catalog import OpenEmbedded
from gaia_core.models import EndpointConfig, Failover, OpenEndpoints, PromptedTools
from gaia_core.nesting import MAX_NESTING

MODEL = """
[models.local]
url = "http://127.0.0.1:8000/v1"
"""

FULL = """
default_agent = "coder"

[models.local]
url = "http://127.0.0.1:8000/api/v1"
model = "Qwen3"
slots = 4
queue = 8
api_key_env = "MY_KEY"
tool_calls = "prompted"
connect_timeout = 1
first_token_timeout = 2.5
silence_timeout = 3
retries = 0
extra = { top_k = 40, chat_template_kwargs = { enable_thinking = false } }

[models.small]
embedded = "weights/small.gguf"
context_tokens = 8192
slots = 2
queue = 3

[agents.writer]

[agents.coder]
model = "small"
instructions = "You are a careful programmer."
description = "Programs"
client_tools = "ignore"
tools = [
  { use = "places", root = "src", mode = "slow", prefix = "src_" },
  { use = "counting", number = 3, words = ["a", "b"] },
]
limits = { steps = 5, tool_calls = 6, tokens = 7, seconds = 8, tool_seconds = 9.5, result_chars = 10 }
approvals = { effects = ["write"], tools = ["count"], never = ["src_put"], timeout = 60 }
context = { tokens = 4000 }
"""


def fails(load, text: str, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, **options)
    return str(caught.value)


def test_every_table_is_read(load, folder):
    catalog = load(FULL)
    assert catalog.default_agent == "coder"
    assert [agent.name for agent in catalog.agents] == ["coder", "writer"]
    coder, writer = catalog.agents
    assert (coder.model, coder.description, coder.client_tools) == ("small", "Programs", "ignore")
    assert coder.instructions == "You are a careful programmer."
    assert coder.tools.names == ("count", "src_look", "src_put")
    assert coder.limits == Limits(steps=5, tool_calls=6, tokens=7, seconds=8, tool_seconds=9.5, result_chars=10)
    assert coder.approvals == ApprovalPolicy(effects={"write"}, tools={"count"}, never={"src_put"}, timeout=60)
    assert coder.context == ContextPolicy(tokens=4000)
    assert (writer.model, writer.limits, writer.tools.names) == ("local", Limits(), ())

    local, small = catalog.models
    assert (local.name, local.slots, local.queue, local.kind) == ("local", 4, 8, "endpoint")
    assert local.open == OpenEndpoints(
        (
            EndpointConfig(
                url="http://127.0.0.1:8000/api/v1",
                model="Qwen3",
                api_key_env="MY_KEY",
                tool_calls="prompted",
                connect_timeout=1,
                first_token_timeout=2.5,
                silence_timeout=3,
                retries=0,
                extra='{"chat_template_kwargs":{"enable_thinking":false},"top_k":40}',
            ),
        )
    )
    assert (small.slots, small.queue, small.kind) == (2, 3, "embedded")
    assert small.open == OpenEmbedded(folder / "weights/small.gguf", 8192, 2)
    assert catalog.problems == ()


def test_defaults(load):
    catalog = load(MODEL + "[agents.a]\n[agents.b]\n")
    assert catalog.default_agent == "a"
    (model,) = catalog.models
    assert (model.slots, model.queue) == (64, 256)
    assert model.open == OpenEndpoints((EndpointConfig(url="http://127.0.0.1:8000/v1"),))
    assert "http://127.0.0.1:8000/v1" in model.description


def test_models_open_as_configured(load):
    catalog = load(MODEL + '[models.p]\nurl = "http://127.0.0.1:1/v1"\ntool_calls = "prompted"\n[agents.a]\n')
    assert isinstance(catalog.model("local").open(), Failover)
    assert isinstance(catalog.model("p").open(), PromptedTools)


def test_equal_files_are_equal_catalogs(load):
    # Without the toolset whose factory makes a new function each time.
    text = FULL.replace('{ use = "counting", number = 3, words = ["a", "b"] },', "").replace('"count"', '"src_look"')
    one, other = load(text), load(text)
    assert one == other
    assert hash(one) == hash(other)
    assert load(text.replace("steps = 5", "steps = 6")) != one
    assert load(text.replace('"Qwen3"', '"Qwen4"')) != one


def test_the_order_of_extra_members_does_not_matter(load):
    one = load(MODEL + "extra = { a = 1, b = { c = 2, d = 3 } }\n[agents.a]\n")
    assert one == load(MODEL + "extra = { b = { d = 3, c = 2 }, a = 1 }\n[agents.a]\n")


@pytest.mark.parametrize(
    ("text", "place", "nearest"),
    [
        ("[modles.local]", "modles", "models"),
        ('default_agnet = "a"', "default_agnet", "default_agent"),
        (MODEL + "slot = 4", "models.local.slot", "slots"),
        (MODEL + 'api_key = "sk"', "models.local.api_key", "api_key_env"),
        (MODEL + '[agents.a]\ninstruction = "x"', "agents.a.instruction", "instructions"),
        (MODEL + "[agents.a.limits]\nstep = 1", "agents.a.limits.step", "steps"),
        (MODEL + '[agents.a.approvals]\neffect = ["write"]', "agents.a.approvals.effect", "effects"),
        (MODEL + "[agents.a.context]\ntoken = 1", "agents.a.context.token", "tokens"),
        (MODEL + '[[agents.a.tools]]\nuse = "places"\nrot = "x"', "agents.a.tools[0].rot", "root"),
        (MODEL + '[[agents.a.tools]]\nuse = "places"\nprefx = "x"', "agents.a.tools[0].prefx", "prefix"),
        (MODEL + '[[agents.a.tools]]\nuse = "place"', "agents.a.tools[0].use", "places"),
        (MODEL + '[agents.a]\nmodel = "locl"', "agents.a.model", "local"),
        (MODEL + 'default_agent = "a"', "models.local.default_agent", None),
        ('default_agent = "coderr"\n' + MODEL + "[agents.coder]", "default_agent", "coder"),
        ('default_agent = "assistent"\n' + MODEL, "default_agent", "assistant"),
        (
            MODEL + '[agents.a.approvals]\ntools = ["lok"]\n[[agents.a.tools]]\nuse = "places"',
            "agents.a.approvals",
            "look",
        ),
        (MODEL + '[[agents.a.tools]]\nuse = "places"\nonly = ["lok"]', "agents.a.tools[0]", "look"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_one(load, text, place, nearest):
    words = fails(load, text)
    assert words.startswith(f"{place}: ")
    if nearest:
        assert f"Did you mean {nearest!r}?" in words


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ('models = "x"', "models", "object"),
        ("[models]\nlocal = 1", "models.local", "table"),
        ('[models]\napi_key_env = "hush"', "models.api_key_env", "table"),
        ('[models.local]\nurl = "http://127.0.0.1:1"\nslots = "4"', "models.local.slots", "int"),
        ('[models.local]\nurl = "http://127.0.0.1:1"\nslots = 0', "models.local.slots", ">= 1"),
        ('[models.local]\nurl = "http://127.0.0.1:1"\nqueue = -1', "models.local.queue", ">= 0"),
        ('[models.local]\nurl = "http://127.0.0.1:1"\nretries = 11', "models.local.retries", "<= 10"),
        ('[models.local]\nurl = "http://127.0.0.1:1"\nsilence_timeout = 0', "models.local.silence_timeout", "> 0"),
        ('[models.local]\nurl = "http://127.0.0.1:1"\ntool_calls = "magic"', "models.local.tool_calls", "magic"),
        ('[models.local]\nurl = "http://127.0.0.1:1"\ncontext_tokens = 0', "models.local.context_tokens", ">= 1"),
        ("[models.local]", "models.local.url", "http://127.0.0.1:8000/api/v1"),
        ('[models.local]\nurl = ["http://127.0.0.1:1", "http://127.0.0.1:1/"]', "models.local.url", "twice"),
        ('[models.local]\nurl = "ftp://x"', "models.local", "http://"),
        ('[models.local]\nurl = "http://u:hush@x/"', "models.local", "api_key_env"),
        ('[models.local]\nembedded = true\nurl = "http://x"', "models.local", "can't be combined"),
        ('[models.local]\nembedded = true\nmodel = "x"', "models.local", "model and embedded can't be combined"),
        ("[agents.a]\ninstructions = 1", "agents.a.instructions", "str"),
        ("[agents.a]\nlimits = 1", "agents.a.limits", "table"),
        ("[agents.a.limits]\nsteps = 0", "agents.a.limits.steps", ">= 1"),
        ('[agents.a.limits]\nseconds = "1"', "agents.a.limits.seconds", "float"),
        ('[agents.a.approvals]\neffects = ["delete"]', "agents.a.approvals.effects[0]", "delete"),
        ('[agents.a]\nclient_tools = "take"', "agents.a.client_tools", "take"),
        ('[agents.a]\ntools = "places"', "agents.a.tools", "array"),
        ('[agents.a]\ntools = ["places"]', "agents.a.tools[0]", "object"),
        ("[agents.a]\ntools = [{}]", "agents.a.tools[0]", 'use = "<toolset>"'),
        ("[agents.a]\ntools = [{ use = 1 }]", "agents.a.tools[0].use", "str"),
        ('[agents.a]\ntools = [{ use = "places", only = "look" }]', "agents.a.tools[0].only", "array"),
        ('[agents.a]\ntools = [{ use = "places", rename = ["look"] }]', "agents.a.tools[0].rename", "object"),
        ('[agents.a]\ntools = [{ use = "places", root = 1 }]', "agents.a.tools[0].root", "str"),
        ('[agents.a]\ntools = [{ use = "places", root = "a\\u0000b" }]', "agents.a.tools[0].root", "NUL"),
        ('[agents.a]\ntools = [{ use = "places", root = "~nobody-of-this-name/x" }]', "agents.a.tools[0].root", "home"),
        ('[agents.a]\ntools = [{ use = "places", mode = "medium" }]', "agents.a.tools[0].mode", "medium"),
        ('[agents.a]\ntools = [{ use = "places", depth = "2" }]', "agents.a.tools[0].depth", "int"),
        ('[agents.a]\ntools = [{ use = "places", extra = ["a", 1] }]', "agents.a.tools[0].extra", "str"),
        ('[agents.a]\ntools = [{ use = "counting" }]', "agents.a.tools[0]", "needs 'number'"),
        ('[agents.""]', "", "name"),
    ],
)
def test_a_wrong_value_is_an_error_at_its_place(load, text, place, word):
    words = fails(load, text)
    assert words.startswith(f"{place}: " if place else "")
    assert word in words
    assert "hush" not in words


def test_a_file_that_can_t_be_read_is_an_error(load, tmp_path):
    with pytest.raises(ConfigError, match="no-such"):
        load_catalog(tmp_path / "no-such.toml", environ={}, cwd=tmp_path, plugins={})
    with pytest.raises(ConfigError, match="can't be read"):
        load_catalog(tmp_path, environ={}, cwd=tmp_path, plugins={})
    assert "line 2" in fails(load, "[models]\nlocal = = 1\n")
    (tmp_path / "latin.toml").write_bytes("# größe".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_catalog(tmp_path / "latin.toml", environ={}, cwd=tmp_path, plugins={})


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1, 5_000])
@pytest.mark.parametrize(
    "deep",
    [
        lambda levels: f"extra = {{ x = {'[' * (levels - 4)}{']' * (levels - 4)} }}",
        lambda levels: f"extra.{'.'.join('a' * (levels - 3))} = 1",
        lambda levels: f"[models.local.extra.{'.'.join('a' * (levels - 4))}]",
    ],
)
def test_a_file_may_be_nested_up_to_the_limit(load, deep, levels):
    text = f"{MODEL}{deep(levels)}\n[agents.a]\n"
    if levels == MAX_NESTING:
        assert load(text).default_agent == "a"
    else:
        assert "gaia.toml: nested deeper than 128 levels; make it flatter" in fails(load, text)


def test_a_byte_order_mark_does_no_harm(load):
    assert load("\ufeff[agents.a]").default_agent == "a"


def test_the_file_of_the_current_folder_is_read(tmp_path, plugins):
    (tmp_path / "gaia.toml").write_text(MODEL + "[agents.here]")
    assert load_catalog(environ={}, cwd=tmp_path, plugins=plugins).default_agent == "here"


def test_without_agents_there_is_the_default_one(load):
    catalog = load(MODEL)
    assert catalog.default_agent == "assistant"
    assert catalog.model("local").kind == "endpoint"


def test_a_model_that_no_agent_uses_is_not_looked_for(load):
    catalog = load('[models.big]\nurl = "http://127.0.0.1:1/v1"\n[agents.a]\nmodel = "big"')
    assert [model.name for model in catalog.models] == ["big"]


def test_agents_use_local_when_nothing_is_said(load):
    catalog = load("[agents.a]")
    assert catalog.model("local").kind == "none"
    catalog = load("[agents.a]", environ={"GAIA_MODEL_URL": "http://127.0.0.1:1/v1"})
    assert catalog.model("local").kind == "endpoint"


def test_the_file_wins_over_the_environment(load):
    catalog = load(MODEL + "[agents.a]", environ={"GAIA_MODEL_URL": "http://127.0.0.1:1/v1"})
    assert catalog.model("local").open.configs[0].url == "http://127.0.0.1:8000/v1"


def test_what_a_model_takes_and_makes(load):
    catalog = load(
        MODEL
        + '[models.seeing]\nurl = "http://127.0.0.1:1/v1"\ninputs = ["image", "file"]\n'
        + '[models.embed]\nurl = "http://127.0.0.1:1/v1"\nmodel = "nomic"\nembeddings = true\n[agents.a]\n'
    )

    assert [catalog.model(name).inputs for name in ("local", "seeing")] == [None, {"image", "file"}]
    embed = catalog.model("embed")
    assert (embed.embeddings, embed.served, catalog.model("local").embeddings) == (True, "nomic", False)


def test_an_agent_needs_a_model_that_answers(load):
    with pytest.raises(ConfigError, match=r"agents\.a\.model: 'embed' makes embeddings"):
        load(MODEL + '[models.embed]\nurl = "http://127.0.0.1:1/v1"\nembeddings = true\n[agents.a]\nmodel = "embed"\n')


def test_an_input_that_is_none(load):
    with pytest.raises(ConfigError, match="inputs"):
        load('[models.local]\nurl = "http://127.0.0.1:1/v1"\ninputs = ["smell"]\n[agents.a]\n')


@pytest.mark.parametrize(
    ("written", "core"), [("true", set()), ('{ core = ["look"] }', {"look"}), ("{}", set()), ("false", None)]
)
def test_search_over_tools(load, written, core):
    agent = load(f'{MODEL}[agents.a]\ntool_search = {written}\ntools = [{{ use = "places" }}]\n').agent("a")

    assert (agent.search and set(agent.search.core)) == core if core is not None else agent.search is None


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('{ core = ["lok"] }', r"agents\.a\.tool_search\.core: the agent has no tool 'lok'\. Did you mean 'look'"),
        ('{ cor = ["look"] }', r"agents\.a\.tool_search"),
        ("3", r"agents\.a\.tool_search"),
    ],
)
def test_a_wrong_search_over_tools(load, written, words):
    with pytest.raises(ConfigError, match=words):
        load(f'{MODEL}[agents.a]\ntool_search = {written}\ntools = [{{ use = "places" }}]\n')


def test_a_search_is_by_meaning_where_one_model_makes_vectors(load):
    def vectors(name: str) -> str:
        return f'[models.{name}]\nurl = "http://127.0.0.1:1/v1"\nembeddings = true\n'

    def searched(models: str, written: str) -> str | None:
        agent = load(f'{MODEL}{models}[agents.a]\ntool_search = {written}\ntools = [{{ use = "places" }}]\n').agent("a")
        return agent.search.embeddings

    assert searched("", "true") is None
    assert searched(vectors("v"), "true") == "v"
    assert searched(vectors("v") + vectors("w"), "true") is None, "which of two has to be said"
    assert searched(vectors("v") + vectors("w"), '{ embeddings = "w" }') == "w"
    with pytest.raises(ConfigError, match=r"tool_search\.embeddings: no model 'local' has embeddings = true"):
        searched(vectors("v"), '{ embeddings = "local" }')


@pytest.mark.parametrize("agents", ["[agents.here]", ""])
def test_agents_are_as_old_as_their_file(tmp_path, plugins, agents):
    """What clients are told of a model's age is the same in every process, and after a reload."""
    path = tmp_path / "gaia.toml"
    path.write_text(MODEL + agents)
    os.utime(path, (1_700_000_000, 1_700_000_000))

    assert load_catalog(path, environ={}, cwd=tmp_path, plugins=plugins).created == 1_700_000_000


RETENTION = "[retention]\nstored_days = inf\nstored_bytes = 5_000\nanswer_hours = 0.5\nanswer_bytes = 7\n"


@pytest.mark.parametrize("text", [MODEL, MODEL + '[agents.a]\nmodel = "local"\n'])
def test_retention_is_configured_and_has_defaults(load, text):
    assert load(text).retention == Retention()
    assert Retention().stored_seconds == 30 * 86_400
    retention = Retention(stored_days=float("inf"), stored_bytes=5_000, answer_hours=0.5, answer_bytes=7)
    assert load(f"{text}{RETENTION}").retention == retention
    assert retention.answer_seconds == 1_800


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stored_day = 1", r"retention\.stored_day: unknown key\. Did you mean 'stored_days'\?"),
        ("stored_days = 0", r"retention\.stored_days: expected `float` > 0"),
        ("answer_bytes = 0", r"retention\.answer_bytes: expected `int` >= 1"),
        ("stored_bytes = '1 GB'", r"retention\.stored_bytes: expected `int`, got `str`"),
    ],
)
def test_a_wrong_retention_is_named(load, line, words):
    with pytest.raises(ConfigError, match=words):
        load(f"{MODEL}[retention]\n{line}\n")


def test_a_retention_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"retention\.stored_days must be more than 0, not -1"):
        Retention(stored_days=-1.0)
