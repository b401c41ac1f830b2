"""The clients. Each asks one thing, and says what came of it: `right`, a named error, `gone`, or what was wrong."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable

import aiohttp

from benchmarks.soak.upstream import FAULTS

_PLANS = ("ok",) * 8 + ("slow", "slow", "tool", "tool") + FAULTS
_CHAT, _RESPONSES = "/v1/chat/completions", "/v1/responses"
_LEFT_ALONE = "no endpoint of the model answered"
"""What the circuit breaker says while the endpoint, which failed often, is left alone."""
_JSON = {"content-type": "application/json"}


class WrongError(Exception):
    """An answer that is neither right nor a named error."""


class Clients:
    """What the clients share: where the server is, chance, and a count."""

    def __init__(self, http: aiohttp.ClientSession, random: random.Random, *, responses: bool) -> None:
        self._http = http
        self._random = random
        self._number = 0
        kinds: list[Callable[[], Awaitable[str]]] = [
            self.plain, self.plain, self.stream, self.stream, self.leaver, self.nonsense,
            self.page, self.page, self.page_that_comes_back, self.page_that_cancels,
        ]  # fmt: skip
        self.kinds = kinds + ([self.response, self.response_stream] if responses else [])

    def plan(self) -> tuple[str, str, str]:
        """The kind of a plan, its number, and the words that ask for it."""
        self._number += 1
        kind = self._random.choice(_PLANS)
        return kind, str(self._number), f"Please follow plan:{kind}:{self._number}"

    async def plain(self) -> str:
        kind, number, words = self.plan()
        async with self._http.post(_CHAT, json=_chat(words)) as response:
            body = await response.json()
            if response.status != 200:
                return _named(kind, response.status, body)
        return _right(kind, number, body["choices"][0]["message"]["content"])

    async def stream(self) -> str:
        kind, number, words = self.plan()
        text, error, done = "", None, False
        async with self._http.post(_CHAT, json=_chat(words, stream=True)) as response:
            if response.status != 200:
                return _named(kind, response.status, await response.json())
            async for line in response.content:
                data = line.removeprefix(b"data: ").strip() if line.startswith(b"data: ") else b""
                if data == b"[DONE]":
                    done = True
                elif data:
                    value = json.loads(data)
                    error = error or value.get("error")
                    for choice in value.get("choices", ()):
                        text += choice["delta"].get("content") or ""
        if not done:
            raise WrongError(f"{kind}: a stream without [DONE]")
        return _named(kind, 200, {"error": error}) if error else _right(kind, number, text)

    async def leaver(self) -> str:
        """Leaves at any time."""
        _, _, words = self.plan()
        body = _chat(words, stream=self._random.random() < 0.5)
        try:
            async with asyncio.timeout(self._random.random() ** 2 * 0.4), self._http.post(_CHAT, json=body) as response:
                await response.read()
        except TimeoutError:
            return "gone"
        return "gone too late"

    async def nonsense(self) -> str:
        data = self._random.choice((b"{bad", b"[]", b"\xff", b"{}", b'{"model":"soak","messages":7}'))
        async with self._http.post(_CHAT, data=data, headers=_JSON) as response:
            if response.status != 400:
                raise WrongError(f"nonsense got {response.status}")
            return f"named: {(await response.json())['error']['code']}"

    async def page(self) -> str:
        kind, number, words = self.plan()
        session = await self._session()
        try:
            frames = await self._frames("POST", "/api/chat/send", json={"session_id": session, "message": words})
            return _told(kind, number, frames)
        finally:
            await self._delete(session)

    async def page_that_comes_back(self) -> str:
        """Leaves its stream, and attaches to the turn again, which goes on meanwhile."""
        kind, number, words = self.plan()
        session = await self._session()
        try:
            ask = {"session_id": session, "message": words}
            async with self._http.post("/api/chat/send", json=ask) as response:
                if response.status != 200:
                    return _named(kind, response.status, await response.json())
                last = (await response.content.readline()).decode().removeprefix("id: ").strip()
            path, headers = f"/api/chat/attach?session_id={session}", {"last-event-id": last}
            return _told(kind, number, await self._frames("GET", path, headers=headers))
        finally:
            await self._delete(session)

    async def page_that_cancels(self) -> str:
        _, _, words = self.plan()
        session = await self._session()
        try:
            ask = {"session_id": session, "message": words}
            async with self._http.post("/api/chat/send", json=ask) as response:
                if response.status != 200:
                    return _named("ok", response.status, await response.json())
                await response.content.readline()
                await asyncio.sleep(self._random.random() * 0.1)
                async with self._http.post("/api/chat/cancel", json={"session_id": session}) as cancelled:
                    if cancelled.status not in (200, 404):
                        raise WrongError(f"a cancel got {cancelled.status}")
                if b'"type":"done"' not in await response.read():
                    raise WrongError("a cancelled stream without its end")
            return "cancelled"
        finally:
            await self._delete(session)

    async def response(self) -> str:
        kind, number, words = self.plan()
        ask = {"model": "soak", "input": words, "store": self._random.random() < 0.5}
        async with self._http.post(_RESPONSES, json=ask) as response:
            body = await response.json()
            if response.status != 200:
                return _named(kind, response.status, body)
        await self._forget(body)
        return _named(kind, 200, body) if body.get("error") else _right(kind, number, _text(body))

    async def response_stream(self) -> str:
        kind, number, words = self.plan()
        last: dict = {}
        async with self._http.post(_RESPONSES, json={"model": "soak", "input": words, "stream": True}) as response:
            if response.status != 200:
                return _named(kind, response.status, await response.json())
            async for line in response.content:
                if line.startswith(b"data: {"):
                    value = json.loads(line[6:])
                    last = value if "response" in value else last
        if last.get("type") not in ("response.completed", "response.failed", "response.incomplete"):
            raise WrongError(f"{kind}: a response that ended with {last.get('type')}")
        await self._forget(last["response"])
        body = last["response"]
        return _named(kind, 200, body) if body.get("error") else _right(kind, number, _text(body))

    async def _forget(self, body: dict) -> None:
        if body.get("store") and body.get("id"):
            async with self._http.delete(f"{_RESPONSES}/{body['id']}") as response:
                if response.status != 200:
                    raise WrongError(f"deleting a response got {response.status}")

    async def _session(self) -> str:
        async with self._http.post("/api/sessions", json={}) as response:
            return (await response.json())["id"]

    async def _delete(self, session: str) -> None:
        async with self._http.delete(f"/api/sessions/{session}") as response:
            if response.status != 200:
                raise WrongError(f"deleting a session got {response.status}")

    async def _frames(self, method: str, path: str, **options: object) -> list[dict]:
        async with self._http.request(method, path, **options) as response:
            if response.status != 200:
                return [{"status": response.status, "body": await response.json()}]
            return [json.loads(line[6:]) async for line in response.content if line.startswith(b"data: ")]


def _chat(words: str, **fields: object) -> dict:
    return {"model": "soak", "messages": [{"role": "user", "content": words}], **fields}


def _text(body: dict) -> str:
    parts = (part for item in body["output"] if item["type"] == "message" for part in item["content"])
    return "".join(part.get("text", "") for part in parts)


def _right(kind: str, number: str, text: str) -> str:
    if kind in FAULTS or text != f"answer {number} end":
        raise WrongError(f"{kind}: {text[:80]!r}")
    return "right"


def _named(kind: str, status: int, body: dict) -> str:
    """The name of an error, which must have one, and a reason in the endpoint's faults or the server's bounds."""
    error = body.get("error")
    name = error.get("code") if isinstance(error, dict) else body.get("detail")
    if not name:
        raise WrongError(f"{kind}: {status} without a name: {str(body)[:200]}")
    if kind not in FAULTS and status not in (429, 503) and _LEFT_ALONE not in str(error or name):
        raise WrongError(f"{kind}: {status} {str(body)[:200]}")
    return f"named: {name if isinstance(error, dict) else status}"


def _told(kind: str, number: str, frames: list[dict]) -> str:
    if frames and "status" in frames[0] and "body" in frames[0]:
        return _named(kind, frames[0]["status"], frames[0]["body"])
    kinds = [frame["type"] for frame in frames]
    if not kinds or kinds[-1] != "done" or kinds.count("done") != 1:
        raise WrongError(f"{kind}: a stream of {kinds[-5:]}")
    if errors := [frame["content"] for frame in frames if frame["type"] == "error"]:
        if errors[0].startswith(_LEFT_ALONE):
            return "named: the endpoint is left alone"
        return _named(kind, 200, {"detail": errors[0]})
    return _right(kind, number, frames[-1]["content"])
