"""Model servers that already run here are found: all asked at once, briefly, and never ourselves."""

import asyncio
import json
import socket
from urllib.parse import urlsplit

from gaia_core.models import CANDIDATES, OWN, Candidate, Found, discover


def listing(*ids: str, owner: str = "somebody") -> bytes:
    return json.dumps({"object": "list", "data": [{"id": name, "owned_by": owner} for name in ids]}).encode()


async def found(upstream, wire, *answers: object, timeout: float = 60.0) -> tuple[list[str], tuple[Found, ...], list]:
    """The urls of servers that list so, what is found there, and the servers."""
    servers = [await upstream() for _ in answers]
    for server, answer in zip(servers, answers, strict=True):
        server.listed = wire.says(answer, media="application/json") if isinstance(answer, bytes) else answer
    candidates = tuple(Candidate(f"server {n}", server.url) for n, server in enumerate(servers))
    return [server.url for server in servers], await discover(candidates, timeout=timeout), servers


def test_the_known_servers_are_on_this_machine_and_none_is_ours():
    assert {urlsplit(candidate.url).hostname for candidate in CANDIDATES} == {"127.0.0.1"}
    assert [urlsplit(candidate.url).port for candidate in CANDIDATES] == [13305, 8000, 11434, 8080, 1234, 8000]
    assert [candidate.name for candidate in CANDIDATES][:3] == ["Lemonade", "Lemonade", "Ollama"]
    assert isinstance(hash(CANDIDATES), int)


async def test_servers_are_found_in_the_order_of_the_candidates(upstream, wire):
    slow = wire.says(0.05, listing("a", "b"))
    urls, servers, _ = await found(upstream, wire, slow, listing("c"))
    assert servers == (Found("server 0", urls[0], ("a", "b")), Found("server 1", urls[1], ("c",)))


async def test_all_are_asked_at_once(upstream, wire):
    together = asyncio.Barrier(3)  # nobody answers until all are asked
    servers = [await upstream() for _ in range(3)]
    for server in servers:
        server.listed = wire.says(together.wait, listing("a"))
    assert len(await discover(tuple(Candidate("x", server.url) for server in servers), timeout=60.0)) == 3


async def test_our_own_server_is_not_found(upstream, wire):
    urls, servers, _ = await found(upstream, wire, listing("coder", owner=OWN), listing("a"))
    assert [server.url for server in servers] == [urls[1]]


async def test_models_that_can_t_chat_are_left_out(upstream, wire):
    ids = ("nomic-embed-text", "Whisper-Large", "bge-m3", "Qwen3-Coder-30B", "jina-reranker", "kokoro-v1", "llama3.2")
    _, (server,), _ = await found(upstream, wire, listing(*ids), listing("nomic-embed-text"))
    assert server.models == ("Qwen3-Coder-30B", "llama3.2")


async def test_who_is_slow_is_not_waited_for(upstream, wire):
    answers = (wire.says(wire.HANG), wire.says(b'{"data": [', wire.HANG), listing("a"))
    urls, servers, _ = await found(upstream, wire, *answers, timeout=2.0)
    assert [server.url for server in servers] == [urls[2]]


async def test_what_is_no_model_server_is_passed_over(upstream, wire):
    answers = (
        b"<html>",
        b"[]",
        b'{"data": null}',
        b'{"data": [{"id": "\xff"}]}',
        b"[" * 100_000,
        b"",
        wire.fails(401),
        wire.fails(500),
        wire.says(wire.RESET),
        wire.says(b"what?\r\n\r\n", raw=True),
        wire.says(status=302, headers=(("location", "/v1/models"),)),
        listing(),
        listing("a"),
    )
    urls, servers, _ = await found(upstream, wire, *answers)
    assert [server.url for server in servers] == [urls[-1]]


async def test_a_list_may_come_in_pieces(upstream, wire):
    whole = listing("a", "b")
    _, (server,), _ = await found(upstream, wire, wire.says(whole[:20], 0.02, whole[20:]))
    assert server.models == ("a", "b")


async def test_where_nobody_listens_nothing_is_found():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert await discover((Candidate("x", f"http://127.0.0.1:{taken.getsockname()[1]}/v1"),)) == ()
    assert await discover(()) == ()


async def test_no_key_is_sent_to_who_is_found(upstream, wire, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    _, _, (server,) = await found(upstream, wire, listing("a"))
    assert "authorization" not in server.lists[0]
