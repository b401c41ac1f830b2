"""The clients. Each asks one thing at a time and comes back, to any server, until it has the answer; then it compares
that with the record. Every request has an `Idempotency-Key`, as a client that must not ask twice sends it."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

_AGENT = "worker"
_PAUSE_SECONDS = 0.05
_STREAM_SECONDS = 60.0
"""More than any request takes, a takeover after a heartbeat's expiry included."""
_GIVEN_UP = "given up"
DROPS = (aiohttp.ClientError, ConnectionError)
"""How it shows that a server has gone."""
_BUSY = (429, 503)


class WrongError(Exception):
    """What a client has is not what the record says, or has no end."""


class _GivenUpError(Exception):
    """The turn was taken over too often."""


class _InterruptedError(Exception):
    """The stream ended by an error after which the client asks again."""


class Clients:
    """What they share: the servers' addresses, chance, and what was *wrong*."""

    def __init__(self, http: aiohttp.ClientSession, urls: list[str], chance: random.Random) -> None:
        self._http = http
        self._urls = urls
        self.chance = chance
        self._number = 0
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.sessions: dict[str, int] = {}
        """The sessions whose record is checked at the end, and how many turns each has had."""
        self.kinds: list[Callable[[], Awaitable[str]]] = [
            self.page, self.page, self.response, self.response, self.chat, self.chat_in_one_piece,
            self.response_in_one_piece, self.messages,
        ]  # fmt: skip

    async def work(self, stop: asyncio.Event) -> None:
        """Ask until *stop*; what was begun is ended."""
        while not stop.is_set():
            kind = self.chance.choice(self.kinds)
            try:
                self.counts[f"{kind.__name__}: {await kind()}"] += 1
            except _GivenUpError:
                self.counts[f"{kind.__name__}: {_GIVEN_UP}"] += 1
            except WrongError as error:
                self.wrong.append(f"{kind.__name__}: {error}")

    # What the clients do.

    async def page(self) -> str:
        """The UI's client: sends, and attaches by its last id when its stream breaks off."""
        session = (await self._whole("POST", "/api/sessions", {}))["id"]
        self.sessions[session] = 1
        page = _Page()
        headers, sent = self._key(), {"session_id": session, "message": self._words()}
        while not page.done:
            if page.last is None:
                method, path, options = "POST", "/api/chat/send", {"json": sent, "headers": headers}
            else:
                method, path = "GET", f"/api/chat/attach?session_id={session}"
                options = {"headers": {"last-event-id": page.last}}
            await self._stream(method, path, page.take, **options)
            self.counts["streams"] += 1
        told = await self._whole("GET", f"/api/sessions/{session}/messages")
        answers = [each["content"] for each in told["messages"] if each["role"] == "assistant"]
        if page.failed:
            return self._failed(page.failed)
        if answers != [page.text] or page.content != page.text:
            raise WrongError(f"{page.text!r} with {page.content!r} is not the record's {answers!r}")
        return "right"

    async def response(self) -> str:
        """A background response that is streamed, and resumed by `starting_after` when its stream breaks off."""
        response = _Response()
        headers = self._key()
        asked = {"model": _AGENT, "input": self._words(), "background": True, "stream": True}
        while not response.ended:
            try:
                if not response.id:
                    await self._stream("POST", "/v1/responses", response.take, json=asked, headers=headers)
                else:
                    await self._stream("GET", response.path, response.take)
            except _InterruptedError:
                response.restart()
                self.counts["responses told again"] += 1
            self.counts["streams"] += 1
        stored = await self._whole("GET", f"/v1/responses/{response.id}")
        if response.ended == "response.failed":
            return self._failed(stored["error"]["message"])
        if response.ended != "response.completed" or response.texts != _texts(stored):
            raise WrongError(f"{response.ended} {response.texts!r} is not the record's {_texts(stored)!r}")
        self.sessions[response.id[-32:]] = 1
        return "right"

    async def response_in_one_piece(self) -> str:
        """A response that is not streamed."""
        asked = {"model": _AGENT, "input": self._words()}
        made = await self._whole("POST", "/v1/responses", asked, self._key())
        if made.get("error"):
            return self._failed(made["error"]["message"])
        stored = await self._whole("GET", f"/v1/responses/{made['id']}")
        if made != stored or not _texts(made):
            raise WrongError(f"{made!r} is not the record's {stored!r}")
        return "right"

    async def chat(self) -> str:
        """A streamed chat completion; sent again when its stream breaks off."""
        asked, headers = self._chat(stream=True), self._key()
        return await self._until_whole("/v1/chat/completions", asked, headers, _ChatStream)

    async def messages(self) -> str:
        """The same over Anthropic's API."""
        asked = self._chat(stream=True) | {"max_tokens": 1000}
        return await self._until_whole("/v1/messages", asked, self._key(), _MessageStream)

    async def _until_whole(
        self, path: str, asked: dict, headers: dict, kind: "type[_ChatStream | _MessageStream]"
    ) -> str:
        told: list[str] = []
        while len(told) < 2:  # once more: what is kept is what was sent
            stream = kind()
            try:
                await self._stream("POST", path, stream.take, json=asked, headers=headers)
            except _InterruptedError as error:
                if _GIVEN_UP in str(error):
                    return _GIVEN_UP
                self.counts["chats asked again"] += 1
                continue
            self.counts["streams"] += 1
            if stream.ended:
                told.append(stream.text)
        if told[0] != told[1] or "in several words." not in told[0] or told[0].count("This is") != 1:
            raise WrongError(f"{told[0]!r} is not what was kept, {told[1]!r}")
        return "right"

    async def chat_in_one_piece(self) -> str:
        """A chat completion that is not streamed."""
        asked, headers = self._chat(), self._key()
        made = await self._whole("POST", "/v1/chat/completions", asked, headers)
        if "error" in made:
            return self._failed(made["error"]["message"])
        if await self._whole("POST", "/v1/chat/completions", asked, headers) != made:
            raise WrongError(f"{made!r} is not what was kept")
        return "right"

    # Requests.

    def _words(self) -> str:
        self._number += 1
        return f"case {self._number}"

    def _key(self) -> dict[str, str]:
        return {"idempotency-key": f"key-{self.chance.getrandbits(64):x}"}

    def _chat(self, **fields: object) -> dict:
        return {"model": _AGENT, "messages": [{"role": "user", "content": self._words()}], **fields}

    def _failed(self, words: str) -> str:
        """A turn may be given up after it was taken over too often; nothing else may fail."""
        if _GIVEN_UP not in words:
            raise WrongError(f"it failed: {words}")
        return _GIVEN_UP

    @asynccontextmanager
    async def _request(self, method: str, path: str, **options: object) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self.chance.choice(self._urls)
        async with self._http.request(method, url + path, **options) as reply:  # type: ignore[arg-type]
            yield reply

    async def _whole(self, method: str, path: str, body: object = None, headers: dict | None = None) -> dict:
        """The answer in one piece, asked for until a server gives it."""
        while True:
            try:
                async with asyncio.timeout(_STREAM_SECONDS):
                    async with self._request(method, path, json=body, headers=headers) as reply:
                        answer = await reply.json()
                        if reply.status in _BUSY or (reply.status == 409 and "retry-after" in reply.headers):
                            raise ConnectionError
                        if reply.status != 200 and _GIVEN_UP not in str(answer):
                            raise WrongError(f"{method} {path} got {reply.status}: {answer}")
                        return dict(answer)
            except TimeoutError:
                raise WrongError(f"{method} {path} has no answer after {_STREAM_SECONDS:g} s") from None
            except DROPS:
                self.counts["drops"] += 1
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _stream(self, method: str, path: str, take: Callable[[str, dict], None], **options: object) -> None:
        """Give *take* the id and value of each event, until the stream ends or breaks off."""
        try:
            async with asyncio.timeout(_STREAM_SECONDS), self._request(method, path, **options) as reply:
                if reply.status in _BUSY or (reply.status == 409 and "retry-after" in reply.headers):
                    raise ConnectionError
                if reply.status != 200:
                    if _GIVEN_UP in (text := await reply.text()):
                        raise _GivenUpError
                    raise WrongError(f"{method} {path} got {reply.status}: {text}")
                rest = b""
                async for piece in reply.content.iter_any():
                    *frames, rest = (rest + piece).split(b"\n\n")
                    for frame in frames:
                        lines = dict(line.partition(": ")[::2] for line in frame.decode().split("\n"))
                        if lines.get("data", "[DONE]") != "[DONE]":
                            take(lines.get("id", ""), json.loads(lines["data"]))
        except TimeoutError:
            raise WrongError(f"the stream of {method} {path} has no end after {_STREAM_SECONDS:g} s") from None
        except DROPS:
            self.counts["drops"] += 1
            await asyncio.sleep(_PAUSE_SECONDS)


class _Page:
    """What a page has of a turn."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, str]] = []
        self.last: str | None = None
        self.done = False
        self.failed = self.content = ""

    @property
    def text(self) -> str:
        return "".join(text for _, text in self._parts)

    def take(self, frame_id: str, data: dict) -> None:
        if self.done:
            raise WrongError(f"{data['type']} behind done")
        self.last = frame_id
        seq = int(frame_id.partition(":")[0])
        match data["type"]:
            case "reset":
                self._parts = [part for part in self._parts if part[0] < data["seq"]]
            case "chunk":
                self._parts.append((seq, data["content"]))
            case "error":
                self.failed = data["content"]
            case "done":
                self.done, self.content = True, data["content"]


class _Response:
    """What a client has of a response."""

    def __init__(self) -> None:
        self.id = ""
        self.ended = ""
        self.restart()

    def restart(self) -> None:
        """Everything is void: it is read from its first event."""
        self.number = -1
        self._texts: dict[int, str] = {}

    @property
    def texts(self) -> list[str]:
        return [text for _, text in sorted(self._texts.items())]

    @property
    def path(self) -> str:
        after = f"&starting_after={self.number}" if self.number >= 0 else ""
        return f"/v1/responses/{self.id}?stream=true{after}"

    def take(self, _frame_id: str, event: dict) -> None:
        kind, number = event["type"], event["sequence_number"]
        if kind == "error":
            if event["code"] == "step_interrupted":
                raise _InterruptedError
            return
        if number <= self.number:
            raise WrongError(f"{kind} has the number {number} after {self.number}")
        self.number = number
        if kind == "response.output_text.delta":
            index = event["output_index"]
            self._texts[index] = self._texts.get(index, "") + event["delta"]
        elif "response" in event:
            self.id = event["response"]["id"]
            if kind in ("response.completed", "response.failed", "response.incomplete"):
                self.ended = kind


class _ChatStream:
    """What a client has of a chat completion."""

    def __init__(self) -> None:
        self.text, self.ended = "", False

    def take(self, _frame_id: str, chunk: dict) -> None:
        if "error" in chunk:
            raise _InterruptedError(chunk["error"]["message"])
        for choice in chunk["choices"]:
            self.text += choice["delta"].get("content") or ""
            self.ended = self.ended or choice["finish_reason"] is not None


class _MessageStream:
    """What a client has of an Anthropic message."""

    def __init__(self) -> None:
        self.text, self.ended = "", False

    def take(self, _frame_id: str, event: dict) -> None:
        if event["type"] == "error":
            raise _InterruptedError(event["error"]["message"])
        if event["type"] == "content_block_delta":
            self.text += event["delta"].get("text", "")
        self.ended = self.ended or event["type"] == "message_stop"


def _texts(response: dict) -> list[str]:
    return [item["content"][0]["text"] for item in response["output"] if item["type"] == "message"]
