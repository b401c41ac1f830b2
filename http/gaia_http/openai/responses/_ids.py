"""Ids that say where things are: a response's id carries its session and its turn, an item's id its response.

    resp_<turn><part><session>          part: which of the turn's responses, 000 unless it waited for approval
    msg_<turn><part><session>_<n>       the n-th item of its output; i<n>: of its input
    mcp_…_<n>.<step>.<place>.<call>     the same of a call: where the model made it, and its id there
    mcpr_<turn>000<session>_<approval>  what a turn waits for

So what was stored is found without an index, after a restart and in another process. An id is no permission: it is
looked up within the caller's own sessions.
"""

import base64
import binascii
import re

import msgspec

_TURN = "turn_"
_RESPONSE = "resp_"
_REF = re.compile(r"([0-9a-f]{32})([0-9a-f]{3})(?:([0-9a-f]{32})|x([A-Za-z0-9_-]{1,512}))?\Z")
_ITEM = re.compile(r"([a-z]{1,8})_([^.]+)_(i?)([0-9]{1,6})(?:\.([0-9]{1,6})\.([0-9]{1,6})\.([A-Za-z0-9_-]{0,1024}))?\Z")
_PLAIN = re.compile(r"[0-9a-f]{32}\Z")


class Ref(msgspec.Struct, frozen=True, gc=False):
    """A response: the *part*-th of a turn. *session* is empty for one that is not stored."""

    session: str
    turn: str
    part: int = 0

    @property
    def id(self) -> str:
        """The response's id."""
        return _RESPONSE + self.name

    @property
    def name(self) -> str:
        """The id without what says that it is a response's."""
        session = self.session if not self.session or _PLAIN.match(self.session) else f"x{_encoded(self.session)}"
        return f"{self.turn.removeprefix(_TURN)}{self.part:03x}{session}"

    def item(self, kind: str, n: int) -> str:
        """The id of the *n*-th item of the output."""
        return f"{kind}_{self.name}_{n}"

    def input_item(self, kind: str, n: int) -> str:
        """The id of the *n*-th item of the input."""
        return f"{kind}_{self.name}_i{n}"

    def call_item(self, kind: str, n: int, place: "CallPlace") -> str:
        """The id of the *n*-th item of the output, a call, which says where the model made it."""
        return f"{self.item(kind, n)}.{place.step}.{place.index}.{_encoded(place.call_id)}"


class CallPlace(msgspec.Struct, frozen=True, gc=False):
    """A call as the model made it: the turn's *step*, its *index* among the calls of that step, and its id there
    ("": the item says it itself)."""

    step: int
    index: int
    call_id: str = ""


class ItemRef(msgspec.Struct, frozen=True, gc=False):
    """An item: the *n*-th of a response's output, or of its input."""

    response: Ref
    n: int
    of_input: bool
    call: CallPlace | None = None


def parse_response(text: str) -> Ref | None:
    """The response that *text* names, or None for what is no id of ours."""
    return _parse(text.removeprefix(_RESPONSE)) if text.startswith(_RESPONSE) else None


def parse_item(text: str) -> ItemRef | None:
    """The item that *text* names, or None for what is no id of ours."""
    found = _ITEM.match(text)
    ref = _parse(found[2]) if found else None
    if found is None or ref is None:
        return None
    call = None
    if found[5] is not None:
        if (call_id := _decoded(found[7])) is None:
            return None
        call = CallPlace(int(found[5]), int(found[6]), call_id)
    return ItemRef(ref, int(found[4]), bool(found[3]), call)


def approval_item(ref: Ref, approval_id: str) -> str:
    """The id of the item by which an approval is asked for: it names the turn, too."""
    return f"mcpr_{Ref(ref.session, ref.turn).name}_{approval_id.removeprefix('appr_')}"


def parse_approval(text: str) -> tuple[str, str] | None:
    """The turn's name (`Ref.name` of its first response) and the approval that *text* names; None for another id."""
    if not text.startswith("mcpr_"):
        return None
    name, _, approval = text.removeprefix("mcpr_").rpartition("_")
    return (name, f"appr_{approval}") if name and approval else None


def _parse(name: str) -> Ref | None:
    found = _REF.match(name)
    if found is None:
        return None
    turn, part, plain, encoded = found.groups()
    if encoded is not None:
        plain = _decoded(encoded)
        if plain is None:
            return None
    return Ref(plain or "", _TURN + turn, int(part, 16))


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        return None
