"""The tools of an agent, composed in gaia.toml: arguments fit the factory's signature, paths start at the file."""

from pathlib import Path

import pytest

from gaia_core import Agent, ConfigError, Toolset
from gaia_core.catalog import Plugin, make_toolset


def agent(load, *entries: str, **options: object) -> Agent:
    return load(f"[agents.a]\ntools = [{', '.join(entries)}]", **options).agent("a")


def given(agent: Agent) -> dict:
    """The arguments of the recipe of the agent's only resource."""
    (recipe,) = {member.resource for member in agent.tools.members}
    return dict(recipe.arguments)


def test_relative_paths_start_at_the_file(load, folder):
    assert given(agent(load, '{ use = "places", root = "src/../src" }'))["root"] == folder / "src"
    assert given(agent(load, '{ use = "places" }'))["root"] == folder
    assert given(agent(load, '{ use = "places", root = "/srv" }'))["root"] == Path("/srv")


def test_home_is_known(load, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert given(agent(load, '{ use = "places", root = "~/x" }'))["root"] == tmp_path / "x"


def test_paths_within_lists_and_tables_start_at_the_file_too(load, folder):
    entry = '{ use = "places", extra = ["a", "/b"], by_name = { c = "c" } }'
    assert given(agent(load, entry))["extra"] == (folder / "a", Path("/b"), folder / "c")


def test_arguments_are_what_the_signature_says(load, plugins):
    seen: list[object] = []

    def factory(
        names: list[str], *, ratio: float = 0.5, roots: list[Path] | None = None, others: frozenset[Path] = frozenset()
    ) -> Toolset:
        seen.append((names, ratio, roots, others))
        return Toolset("none")

    plugins["f"] = Plugin("f", factory)
    agent(
        load, '{ use = "f", names = ["x"], ratio = 1 }', '{ use = "f", names = [], others = ["/a"] }', plugins=plugins
    )
    assert seen == [(["x"], 1.0, None, frozenset()), ([], 0.5, None, frozenset({Path("/a")}))]
    assert isinstance(seen[0][1], float)


def test_an_argument_that_no_file_can_hold_is_an_error(load, plugins):
    class Connection:
        pass

    def factory(connection: Connection | None = None) -> Toolset:
        return Toolset("none")

    plugins["f"] = Plugin("f", factory)
    assert agent(load, '{ use = "f" }', plugins=plugins).tools.names == ()
    with pytest.raises(ConfigError, match=r"agents.a.tools\[0\].connection: "):
        agent(load, '{ use = "f", connection = "x" }', plugins=plugins)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ('{ use = "places" }', ("look", "put")),
        ('{ use = "places", only = ["look"] }', ("look",)),
        ('{ use = "places", only = [] }', ()),
        ('{ use = "places", without = ["look"] }', ("put",)),
        ('{ use = "places", rename = { look = "see" } }', ("put", "see")),
        ('{ use = "places", prefix = "p_" }', ("p_look", "p_put")),
        ('{ use = "places", only = ["look"], rename = { look = "see" }, prefix = "p_" }', ("p_see",)),
    ],
)
def test_tools_are_chosen_and_named(load, entry, names):
    assert agent(load, entry).tools.names == names


def test_instructions_follow_the_names(load):
    assert agent(load, '{ use = "places", prefix = "p_" }').tools.instructions == "Look by p_look."


def test_approval_is_asked_for_by_the_toolsets_own_names(load):
    tools = agent(load, '{ use = "places", approve = ["put"], prefix = "p_" }').tools
    assert tools["p_put"].approval
    assert not tools["p_look"].approval


def test_one_toolset_may_be_used_twice(load, folder):
    made = agent(load, '{ use = "places", root = "a", prefix = "a_" }', '{ use = "places", root = "b", prefix = "b_" }')
    assert made.tools.names == ("a_look", "a_put", "b_look", "b_put")
    roots = {dict(member.resource.arguments)["root"] for member in made.tools.members}
    assert roots == {folder / "a", folder / "b"}


def test_two_tools_of_one_name_are_an_error_that_names_the_ways_out(load):
    with pytest.raises(ConfigError, match=r"agents.a.tools\[1\]: .*'look'.*\.prefixed\(\)"):
        agent(load, '{ use = "places", root = "a" }', '{ use = "places", root = "b" }')


@pytest.mark.parametrize(
    "key", ["rename = { self = 'x' }", "prefix = 'a b'", "rename = { look = '' }", "rename = { look = 'put' }"]
)
def test_a_name_that_no_tool_can_have_is_an_error(load, key):
    with pytest.raises(ConfigError, match=r"^agents.a.tools\[0\]: "):
        agent(load, f'{{ use = "places", {key} }}')


@pytest.mark.parametrize("name", ["use", "prefix", "only", "without", "rename", "approve"])
def test_a_factory_may_have_no_parameter_of_our_names(name, tmp_path):
    names: dict[str, object] = {"Toolset": Toolset}
    exec(f"def factory({name}: str = '') -> Toolset:\n    return Toolset('none')", names)
    with pytest.raises(ConfigError, match=f"'{name}'.*gaia.toml uses itself"):
        make_toolset(Plugin("f", names["factory"]), {}, "here", tmp_path)


@pytest.mark.parametrize("parameters", ["*roots", "**options", "root, /"])
def test_a_factory_takes_its_arguments_by_name(parameters, tmp_path):
    names: dict[str, object] = {"Toolset": Toolset}
    exec(f"def factory({parameters}):\n    return Toolset('none')", names)
    with pytest.raises(ConfigError, match="can't be given by name"):
        make_toolset(Plugin("f", names["factory"]), {}, "here", tmp_path)


def test_a_factory_may_refuse_its_arguments_in_its_own_words(load, plugins):
    def factory(root: Path) -> Toolset:
        raise ConfigError(f"{root.name} is no folder")

    plugins["f"] = Plugin("f", factory)
    with pytest.raises(ConfigError, match=r"^agents.a.tools\[0\]: x is no folder$"):
        agent(load, '{ use = "f", root = "x" }', plugins=plugins)
