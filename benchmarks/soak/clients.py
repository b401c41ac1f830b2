"""The clients. Each asks one thing, and says what came of it: `right`, a named error, `gone`, or what was wrong."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable

import aiohttp

from benchmarks.soak.faults import FaultWindow
from benchmarks.soak.upstream import FAULTS

PLANS = ("ok",) * 8 + ("slow", "slow", "tool", "tool") + FAULTS
_CHAT, _RESPONSES, _SESSIONS = "/v1/chat/completions", "/v1/responses", "/api/sessions"
_PADDING = "padding " * 12_000
_LEFT_ALONE = "no endpoint of the model answered"
"""What the circuit breaker says while the endpoint, which failed often, is left alone."""
_JSON = {"content-type": "application/json"}


class WrongError(Exception):
    """An answer that is neither right nor a named error."""


_REFUSED = "refused: 503, Retry-After"
_UNKNOWN = "outcome_unknown"
REFUSALS = (_REFUSED, _UNKNOWN)


class RefusedError(Exception):
    """The journal fails, and the server says so: right while it does, and wrong at any other time."""


async def refusals(response: aiohttp.ClientResponse) -> None:
    """For `raise_for_status`. Raises RefusedError; WrongError when a refusal doesn't say when to try again."""
    if response.status not in (503, 504):
        return
    text = await response.text()
    if response.status == 504 and "outcome_unknown" in text:
        raise RefusedError(_UNKNOWN)
    if response.status == 503 and "journal" in text:
        if "retry-after" not in response.headers:
            raise WrongError(f"503 without Retry-After: {text[:200]}")
        raise RefusedError(_REFUSED)


class Clients:
    """What the clients share: where the server is, chance, and a count.

    *http* has `refusals` as its `raise_for_status`. *plans*: what the endpoint is to do, one of them by chance.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        random: random.Random,
        window: FaultWindow,
        *,
        responses: bool,
        plans: tuple[str, ...] = PLANS,
    ) -> None:
        self._http = http
        self.random = random
        self._window = window
        self._plans = plans
        self._number = 0
        self.left: list[str] = []
        """Paths of what could not be deleted, because the journal failed."""
        kinds: list[Callable[[], Awaitable[str]]] = [
            self.plain, self.plain, self.stream, self.stream, self.leaver, self.nonsense,
            self.page, self.page, self.page_that_comes_back, self.page_that_cancels,
        ]  # fmt: skip
        self.kinds = kinds + ([self.response, self.response_stream] if responses else [])

    def plan(self) -> tuple[str, str, str]:
        """The kind of a plan, its number, and the words that ask for it."""
        self._number += 1
        kind = self.random.choice(self._plans)
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
        body = _chat(words, stream=self.random.random() < 0.5)
        try:
            async with asyncio.timeout(self.random.random() ** 2 * 0.4), self._http.post(_CHAT, json=body) as response:
                await response.read()
        except TimeoutError:
            return "gone"
        return "gone too late"

    async def nonsense(self) -> str:
        data = self.random.choice((b"{bad", b"[]", b"\xff", b"{}", b'{"model":"soak","messages":7}'))
        async with self._http.post(_CHAT, data=data, headers=_JSON) as response:
            if response.status != 400:
                raise WrongError(f"nonsense got {response.status}")
            return f"named: {(await response.json())['error']['code']}"

    async def page(self) -> str:
        session = await self._session()
        try:
            return await self._asked(session)
        finally:
            await self._delete(f"{_SESSIONS}/{session}")

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
            await self._delete(f"{_SESSIONS}/{session}")

    async def page_that_cancels(self) -> str:
        _, _, words = self.plan()
        session = await self._session()
        try:
            ask = {"session_id": session, "message": words}
            async with self._http.post("/api/chat/send", json=ask) as response:
                if response.status != 200:
                    return _named("ok", response.status, await response.json())
                await response.content.readline()
                await asyncio.sleep(self.random.random() * 0.1)
                async with self._http.post("/api/chat/cancel", json={"session_id": session}) as cancelled:
                    if cancelled.status not in (200, 404):
                        raise WrongError(f"a cancel got {cancelled.status}")
                text = await response.read()
                if b'"type":"outcome_unknown"' in text:
                    raise RefusedError(_UNKNOWN)
                if b'"type":"done"' not in text:
                    raise WrongError("a cancelled stream without its end")
            return "cancelled"
        finally:
            await self._delete(f"{_SESSIONS}/{session}")

    async def response(self) -> str:
        kind, number, words = self.plan()
        ask = {"model": "soak", "input": words, "store": self.random.random() < 0.5}
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
                    if value.get("code") == "outcome_unknown":
                        raise RefusedError(_UNKNOWN)
                    last = value if "response" in value else last
        if last.get("type") not in ("response.completed", "response.failed", "response.incomplete"):
            raise WrongError(f"{kind}: a response that ended with {last.get('type')}")
        await self._forget(last["response"])
        body = last["response"]
        return _named(kind, 200, body) if body.get("error") else _right(kind, number, _text(body))

    async def _forget(self, body: dict) -> None:
        if body.get("store") and body.get("id"):
            await self._delete(f"{_RESPONSES}/{body['id']}")

    async def grow(self) -> str:
        """Lets the journal grow: a session with a long message is left in it."""
        session = await self._session()
        self.left.append(f"{_SESSIONS}/{session}")
        return await self._asked(session, padding=_PADDING)

    async def use_and_delete(self, path: str) -> str:
        """Use what could not be deleted, then delete it: a session must answer a turn. A 404 counts as right, because a
        refusal may also mean that the deletion was made and its traces could not be erased."""
        async with self._http.get(path) as response:
            if response.status == 404:
                return "right"
        result = "right"
        if path.startswith(_SESSIONS):
            result = await self._asked(path.removeprefix(f"{_SESSIONS}/"))
        await self._delete(path)
        return result

    async def _asked(self, session: str, padding: str = "") -> str:
        kind, number, words = self.plan()
        ask = {"session_id": session, "message": f"{padding}{words}"}
        return _told(kind, number, await self._frames("POST", "/api/chat/send", json=ask))

    async def _session(self) -> str:
        async with self._http.post(_SESSIONS, json={}) as response:
            return (await response.json())["id"]

    async def _delete(self, path: str) -> None:
        """Delete what is at *path*, or leave it for later if the journal fails."""
        mark = self._window.mark()
        try:
            async with self._http.delete(path) as response:
                if response.status != 200:
                    raise WrongError(f"deleting {path} got {response.status}")
        except RefusedError:
            if not self._window.overlaps(mark):
                raise
            self.left.append(path)

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
    if kinds and kinds[-1] == "outcome_unknown":
        raise RefusedError(_UNKNOWN)
    if not kinds or kinds[-1] != "done" or kinds.count("done") != 1:
        raise WrongError(f"{kind}: a stream of {kinds[-5:]}")
    if errors := [frame["content"] for frame in frames if frame["type"] == "error"]:
        if errors[0].startswith(_LEFT_ALONE):
            return "named: the endpoint is left alone"
        return _named(kind, 200, {"detail": errors[0]})
    return _right(kind, number, frames[-1]["content"])
