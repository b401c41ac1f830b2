"""An OpenAI-compatible endpoint that does what the last message says: `plan:KIND:NUMBER`.

| kind | what it does |
|---|---|
| ok | answers `answer NUMBER end` in some deltas |
| slow | the same, with pauses |
| tool | calls the tool `look` first |
| error | 500 |
| reset | the connection is reset before an answer |
| half | breaks off after some deltas |
| silence | says a word, and then nothing |
"""

import asyncio
import json
import re

FAULTS = ("error", "reset", "half", "silence")
_PLAN = re.compile(r"plan:(\w+):(\d+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_ERROR = b'{"error":{"message":"the model fell over","type":"server_error"}}'
_PAUSE_SECONDS = 0.04


class Upstream:
    """Counts who is connected in the middle of an answer."""

    def __init__(self) -> None:
        self.answering = 0

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", 0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is kept."""
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):  # for its list of models, which it has not
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return True
        body = json.loads(await reader.readexactly(int(_LENGTH.search(head)[1])))
        said = [str(message.get("content")) for message in body["messages"] if message["role"] == "user"]
        kind, number = _PLAN.findall(said[-1])[-1] if _PLAN.search(said[-1]) else ("ok", "0")
        self.answering += 1
        answering = asyncio.create_task(self._answer(writer, kind, number, body))
        gone = asyncio.create_task(reader.read(1))  # a client that goes shows here
        try:
            await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
            return answering.done() and answering.result() and not gone.done()
        finally:
            self.answering -= 1
            answering.cancel()
            gone.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    async def _answer(self, writer: asyncio.StreamWriter, kind: str, number: str, body: dict) -> bool:
        if kind == "error":
            writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: %d\r\n\r\n" % len(_ERROR) + _ERROR)
            return True
        if kind == "reset":
            writer.transport.abort()
            return False
        writer.write(_HEAD)
        if kind == "tool" and body["messages"][-1]["role"] != "tool":
            call = {"index": 0, "id": f"c{number}", "type": "function"}
            _say(writer, {"tool_calls": [{**call, "function": {"name": "look", "arguments": "{}"}}]})
            _end(writer, "tool_calls")
            return True
        for word in ("answer ", f"{number} ", "end"):
            _say(writer, {"content": word})
            await writer.drain()
            if kind == "half" and word != "answer ":
                return False
            if kind == "silence":
                await asyncio.Event().wait()
            await asyncio.sleep(_PAUSE_SECONDS if kind == "slow" else 0)
        _end(writer, "stop")
        return True


def _say(writer: asyncio.StreamWriter, delta: dict, reason: str | None = None) -> None:
    chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    _write(writer, b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _end(writer: asyncio.StreamWriter, reason: str) -> None:
    _say(writer, {}, reason)
    _write(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
