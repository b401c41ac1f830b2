"""Completion in the shell, as bash asks for it."""

import asyncio

import pytest

ID = "11112222-0000-4000-8000-000000000001"
CONFIG = (
    '[agents.reviewer]\ndescription = "Reads diffs."\n[agents.writer]\n[models.large]\nurl = "http://127.0.0.1:9"\n'
)


@pytest.fixture
async def complete(gaia, record, monkeypatch):
    """What bash is offered for the last of these words."""

    async def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_GAIA_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("gaia", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        _, out, err = await gaia()
        assert err == ""
        return [line.removeprefix("plain,") for line in out.split()]

    await asyncio.to_thread(record, "Hello.", id=ID, config=CONFIG, agent="reviewer")
    return complete


async def test_agents_models_and_sessions(complete):
    assert await complete("chat", "--agent", "r") == ["reviewer"]
    assert await complete("chat", "--model", "la") == ["large"]
    assert await complete("chat", "--session", "1") == [ID[:8]]
    assert await complete("sessions", "show", "1") == [ID[:8]]
    assert await complete("sessions", "show", "2") == []


async def test_a_configuration_that_is_wrong_completes_nothing(complete, tmp_path):
    (tmp_path / "gaia.toml").write_text("[agents")

    assert await complete("chat", "--agent", "r") == []
