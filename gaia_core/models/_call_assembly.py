"""Assembly: the pieces of streamed tool calls → whole calls, each with its own pieces only, or refused.

Servers tell parallel calls apart in different ways. The most certain one that a piece has decides:

| a piece has | it belongs to |
|---|---|
| an id that was seen | the call of that id |
| a new id | a new call, also under a used index (Ollama: all calls have index 0); unless the latest call of that |
| | index has no id yet and is not complete |
| an index, no id | the latest call of that index |
| neither | the latest call |

Without an id, a name begins a new call when it is another one, or when the latest call is complete and other arguments
follow; the same arguments once more are a repetition (some servers send the whole call again at its end).

Pieces that could belong to two calls at once make the arguments of the call that got them no object: a list of the
pieces, which validation refuses. So no call is ever run with pieces of another.
"""

from collections.abc import Sequence

import msgspec

from gaia_core.messages import FunctionCall, ToolCall
from gaia_core.models._call_arguments import JsonScanner
from gaia_core.models._protocol import ToolCallDelta


class _OpenCall:
    """A call whose pieces come. Written by `CallAssembly` only."""

    __slots__ = (
        "_scanned",
        "_scanner",
        "_whole",
        "doubtful",
        "id",
        "index",
        "matched",
        "name",
        "named",
        "pieces",
        "renamed",
        "repeated",
        "unnamed",
    )

    def __init__(self, delta: ToolCallDelta) -> None:
        self.id = delta.id
        self.index = delta.index
        self.name = delta.name
        self.pieces: list[str] = []
        self.named = 0
        """How many pieces came with the name."""
        self.unnamed = 0
        """How many pieces of the arguments came without it."""
        self.doubtful = False
        """A piece came that may belong to another call."""
        self.repeated: list[str] | None = None
        """What has come of a repetition, or of a new call of the same name; None while neither has begun."""
        self.matched = 0
        """How many characters of *repeated* are those of the arguments."""
        self.renamed = False
        """Whether the name came again within *repeated*, which may be the pieces of two calls then."""
        self._scanner = JsonScanner()
        self._scanned = 0
        self._whole: str | None = None

    @property
    def arguments(self) -> str:
        """What has come."""
        return "".join(self.pieces)

    @property
    def whole(self) -> str:
        """The arguments of a call that is complete, joined once."""
        if self._whole is None:
            self._whole = self.arguments.strip()
        return self._whole

    @property
    def complete(self) -> bool:
        """Whether the arguments have come to the end of a bracketed value. Each piece is read once."""
        while self._scanned < len(self.pieces):
            self._scanner.feed(self.pieces[self._scanned])
            self._scanned += 1
        return self._scanner.closed

    @property
    def is_open(self) -> bool:
        """Whether more pieces may come: of this call, or of another one of its name that has only begun.

        If the name came twice, without ids, it may be two calls, and only one of them complete.
        """
        if not self.complete or (self.named > 1 and not self.id):
            return True
        return self.repeated is not None and self.matched < len(self.whole)


class CallAssembly:
    """The calls of one answer. Written by the step's task. A piece costs the same however many calls there are."""

    __slots__ = ("_by_id", "_calls", "_latest", "_open")

    def __init__(self) -> None:
        self._calls: list[_OpenCall] = []
        self._by_id: dict[str, _OpenCall] = {}
        self._latest: dict[int | None, _OpenCall] = {}
        """The latest call of each index; under None, of all."""
        self._open: dict[int | None, list[_OpenCall]] = {}
        """The calls of each index (None: of all) that were not complete when they were last looked at."""

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: ToolCallDelta) -> None:
        """Take a piece."""
        if delta.id:
            self._add_known(delta)
            return
        call = self._latest.get(delta.index)
        if call is None or (delta.name and call.name and delta.name != call.name):
            self._begin(delta, delta.arguments)
        elif call.repeated is not None or (delta.name and call.name and call.complete):
            self._add_repeated(call, delta)
        else:
            # Only here a piece's call is inferred. Another open call that it could belong to as well makes it doubtful.
            call.doubtful = call.doubtful or self._another_is_open(call, delta.index)
            self._append(call, delta.name, delta.arguments)

    def _add_known(self, delta: ToolCallDelta) -> None:
        call = self._by_id.get(delta.id)
        if call is not None:
            if not (delta.arguments and call.complete and delta.arguments.strip() == call.whole):
                self._append(call, delta.name, delta.arguments)
            return  # else the whole call once more
        call = self._latest.get(delta.index) if delta.index is not None else None
        if call is None or call.id or call.complete or (delta.name and call.name and delta.name != call.name):
            self._begin(delta, delta.arguments)
            return
        # It began without its id.
        call.id = delta.id
        self._by_id[delta.id] = call
        self._append(call, delta.name, delta.arguments)

    def _add_repeated(self, call: _OpenCall, delta: ToolCallDelta) -> None:
        """*call* is complete, and its name came once more: the same arguments repeat it, others begin a new call."""
        if call.repeated is None:
            call.repeated, call.matched, call.renamed = [], 0, False
            self._open[None].append(call)
            if call.index is not None:
                self._open[call.index].append(call)
        elif delta.name:
            call.renamed = True
        piece = delta.arguments if call.matched else delta.arguments.lstrip()
        if call.matched == len(call.whole) and not piece.strip():
            return
        call.repeated.append(delta.arguments)
        if call.whole.startswith(piece, call.matched):
            call.matched += len(piece)
            return
        begun, call.repeated = call.whole[: call.matched], None
        self._begin(msgspec.structs.replace(delta, name=call.name), begun + piece, doubtful=call.renamed)

    def _begin(self, delta: ToolCallDelta, arguments: str, *, doubtful: bool = False) -> None:
        call = _OpenCall(delta)
        call.doubtful = doubtful
        self._calls.append(call)
        if delta.id:
            self._by_id[delta.id] = call
        for index in {None, delta.index}:
            self._latest[index] = call
            self._open.setdefault(index, []).append(call)
        self._append(call, delta.name, arguments)

    def _append(self, call: _OpenCall, name: str, arguments: str) -> None:
        if name:
            call.name = call.name or name
            call.named += 1
        elif arguments:
            call.unnamed += 1
        if arguments:
            call.pieces.append(arguments)

    def _another_is_open(self, call: _OpenCall, index: int | None) -> bool:
        waiting = self._open.get(index, [])
        # The first of them that isn't *call* and is open. Those that aren't are removed, until their name comes anew.
        while len(waiting) > (at := int(bool(waiting) and waiting[0] is call)):
            if waiting[at].is_open and waiting[at] is not call:
                return True
            del waiting[at]
        return False

    @property
    def begun(self) -> Sequence[_OpenCall]:
        """The calls so far, in the order of their beginnings. Their pieces are only added to."""
        return self._calls

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, in the order of their beginnings."""
        return tuple([ToolCall(call.id, FunctionCall(call.name, _arguments_of(call))) for call in self._calls])


def _arguments_of(call: _OpenCall) -> str:
    # Some later pieces came with the name, and some without: two calls of one name, mixed.
    mixed = not call.id and call.named > 1 and call.unnamed
    if call.doubtful or mixed:
        return msgspec.json.encode(call.pieces).decode()
    if call.repeated and call.matched < len(call.whole):
        return call.arguments + "".join(call.repeated)  # a second call that was cut off: refused as two values
    return call.arguments
