"""`use = "mcp"` in gaia.toml: what is refused, what is composed, and what a broken server harms."""

import pytest

from gaia_core import ConfigError, load_catalog
from gaia_mcp import mcp

MODEL = '[models.local]\nurl = "http://127.0.0.1:9/v1"\n'


@pytest.fixture
def load(tmp_path):
    def load(tools: str):
        path = tmp_path / "gaia.toml"
        path.write_text(f"{MODEL}[agents.a]\ntools = [{tools}]\n")
        return load_catalog(path, environ={}, cwd=tmp_path)

    return load


def test_an_agents_servers_are_sources_of_the_catalog(load):
    catalog = load(
        '{ use = "mcp", command = ["srv", "--flag"], env = { MY_TOKEN = "env:MINE" } }, '
        '{ use = "mcp", name = "web", url = "http://127.0.0.1:9/mcp", headers = { Authorization = "Bearer env:KEY" } }'
    )

    srv, web = catalog.sources
    assert (srv.name, srv.command, srv.settings) == ("srv", ("srv", "--flag"), (("MY_TOKEN", "env:MINE"),))
    assert (web.name, web.url, web.settings) == (
        "web",
        "http://127.0.0.1:9/mcp",
        (("Authorization", "Bearer env:KEY"),),
    )
    assert catalog.agent("a").tools.names == ()


def test_one_server_of_two_agents_is_one_source(tmp_path):
    path = tmp_path / "gaia.toml"
    tools = 'tools = [{ use = "mcp", command = ["srv"] }]'
    path.write_text(f"{MODEL}[agents.a]\n{tools}\n[agents.b]\n{tools}\n")

    assert len(load_catalog(path, environ={}, cwd=tmp_path).sources) == 1


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('{ use = "mcp" }', 'needs either command = [...] or url = "..."'),
        ('{ use = "mcp", command = ["a"], url = "http://b/" }', "needs either command"),
        ('{ use = "mcp", comand = ["a"] }', "takes no 'comand'. Did you mean 'command'?"),
        ('{ use = "mcp", command = "a b" }', "Expected `array`"),
        ('{ use = "mcp", url = "ftp://b/" }', "must begin with http:// or https://"),
        ('{ use = "mcp", url = "http://me:pw@b/" }', "no password in a url"),
        ('{ use = "mcp", command = ["a"], env = { API_KEY = "sk-123" } }', 'API_KEY = "env:MY_API_KEY"'),
        ('{ use = "mcp", url = "http://b/", headers = { Authorization = "Bearer sk-123" } }', "looks like a secret"),
        ('{ use = "mcp", url = "http://b/", env = { A = "b" } }', "a url has headers"),
        ('{ use = "mcp", command = ["a"], effects = ["reed"] }', "Invalid enum value 'reed'"),
        ('{ use = "mcp", command = ["a"], name = "a b" }', "name must be 1 to 32 letters"),
        ('{ use = "mcp", command = ["a"], timeout = 0 }', "timeout must be seconds above 0, not 0.0"),
        ('{ use = "mcp", command = ["a", "x"] }, { use = "mcp", command = ["a", "y"] }', "are called 'a'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load, entry, words):
    with pytest.raises(ConfigError) as refused:
        load(entry)

    assert words in str(refused.value)
    assert "sk-123" not in str(refused.value)
    assert "pw@" not in str(refused.value)


def test_making_a_toolset_starts_nothing(monkeypatch):
    import asyncio

    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)

    assert mcp(("srv",)).name == "srv"
