"""Answers to approvals: the turn that waits for them continues, and what it does from then on is the next response.

An approval's id says which turn asked. All approvals of a response are answered together, and the request holds nothing
else: the turn continues with the options that it began with. If the agent has changed since they were asked (the server
was restarted with another configuration), the answers count for nothing, and the next response asks again.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from gaia_core import AnsweredError, BusyError, NotFoundError, Runtime
from gaia_core.facts import Decided, Ended, Fact
from gaia_core.turn import AGENT_CHANGED, Turn
from gaia_http._errors import ApiError
from gaia_http.openai.responses._ids import Ref, approval_item, parse_approval, parse_response
from gaia_http.openai.responses._request_state import Begun
from gaia_http.openai.responses.input._input_items import Approval
from gaia_http.openai.responses.input._options import echo_of
from gaia_http.openai.responses.input._wire import CreateRequest, WireItem
from gaia_http.openai.responses.stored._request_note import kept_of
from gaia_http.openai.responses.stored._stored_responses import ResponseStore, StoredResponse
from gaia_http.request._fields import invalid_at, shortened


class Approvals:
    """Belongs to one application."""

    def __init__(self, runtime: Runtime, store: ResponseStore) -> None:
        self._runtime = runtime
        self._store = store

    async def answered(
        self,
        request: CreateRequest,
        owner: str,
        items: Sequence[WireItem],
        approvals: tuple[Approval, ...],
        *,
        again: bool = False,
    ) -> Begun | None:
        """Answer the turn that waits; None when none of *approvals* is news, as in a transcript that is sent again.

        *again*: a request that was taken before gets the response that it began.
        """
        first = await self._asked(owner, approvals[-1])
        last = max(n for n, item in enumerate(items) if item.type == "mcp_approval_response")
        rest = [n for n, item in enumerate(items) if n > last and (item.type or "message") != "reasoning"]
        if first is None:
            if rest:
                return None
            if again and (begun := await self._begun_before(request, owner, approvals[-1])) is not None:
                return begun
            raise _answered_already(approvals[-1])
        if rest:
            words = "approval responses must be the only items of a request; send this with the next one"
            raise invalid_at(f"input[{rest[0]}]", words, "unsupported_value")
        return await self._decided(request, owner, first, approvals)

    async def _begun_before(self, request: CreateRequest, owner: str, approval: Approval) -> Begun | None:
        """The response that the same request has begun."""
        named = parse_approval(approval.request_id)
        first = parse_response(f"resp_{named[0]}") if named is not None else None
        if first is None:
            return None
        kept = kept_of(await self._runtime.sessions.get(owner, first.session))
        for name, note in kept.notes:
            ref = parse_response(f"resp_{name}")
            if ref is not None and ref.turn == first.turn and bytes(note.items) == bytes(request.input):
                return Begun(owner=owner, ref=ref, note=note, turn=None, owned=False, store=self._store)
        return None

    async def _decided(
        self, request: CreateRequest, owner: str, first: StoredResponse, approvals: tuple[Approval, ...]
    ) -> Begun:
        """Continue the turn of *first* with the answers to all approvals that it waits for."""
        answers = {named[1]: each for each in approvals if (named := parse_approval(each.request_id)) is not None}
        if open_still := [each for each in first.output.asked if each not in answers]:
            ids = ", ".join(approval_item(first.ref, each) for each in open_still)
            raise invalid_at("input", f"answer all approval requests at once; still open: {ids}", "approval_missing")
        ref = _next(first.ref)
        note = msgspec.structs.replace(
            first.note,
            created=int(time.time()),
            echo=echo_of(request),
            items=request.input,
            previous=request.previous_response_id or first.ref.id,
            background=bool(request.background),
        )
        turn = self._runtime.running(owner, ref.session)
        if turn is None:
            with suppress(BusyError):  # another process runs it
                turn = await self._runtime.sessions.take_over(owner, ref.session)
        await self._store.keep(
            owner, ref.session, lambda kept: msgspec.structs.replace(kept, notes=(*kept.notes, (ref.name, note)))
        )
        withdrawn = await self._withdrawn(first, turn)
        for approval_id in first.output.asked:
            answer = answers[approval_id]
            if approval_id in withdrawn:
                continue
            try:
                await self._runtime.sessions.decide(owner, ref.session, approval_id, answer.approve, answer.reason)
            except (AnsweredError, NotFoundError):
                raise _answered_already(answer) from None
        return Begun(
            owner=owner,
            ref=ref,
            note=note,
            turn=turn if turn is not None and turn.id == ref.turn else None,
            owned=not note.background,
            store=self._store,
        )

    async def _asked(self, owner: str, approval: Approval) -> StoredResponse | None:
        """The response that asked for *approval* and waits; None when it was answered. Raises ApiError 404."""
        named = parse_approval(approval.request_id)
        ref = parse_response(f"resp_{named[0]}") if named is not None else None
        if named is None or ref is None:
            raise _unknown(approval)
        part = 0
        while True:
            try:
                stored = await self._store.find(owner, Ref(ref.session, ref.turn, part).id)
            except ApiError:
                if part:
                    return None
                raise _unknown(approval) from None
            if not stored.output.parked:
                return None
            if named[1] in stored.output.asked and not await self._is_decided(stored, named[1]):
                return stored
            part += 1

    async def _is_decided(self, stored: StoredResponse, approval_id: str) -> bool:
        """Whether the approval was answered, or has expired; one that was withdrawn is answered by the response that
        asks again."""
        facts = await self._facts(stored)
        if any(isinstance(fact, Ended) for fact in facts):
            return True
        decided = next((fact for fact in facts if isinstance(fact, Decided) and fact.approval_id == approval_id), None)
        if decided is None or decided.reason != AGENT_CHANGED:
            return decided is not None
        return kept_of(stored.info).note(_next(stored.ref).name) is not None

    async def _withdrawn(self, stored: StoredResponse, turn: Turn | None) -> frozenset[str]:
        """The approvals that are asked again, because the agent has changed; *turn* may not have recorded it yet."""
        facts = await self._facts(stored)
        recorded = [fact.approval_id for fact in facts if isinstance(fact, Decided) and fact.reason == AGENT_CHANGED]
        return frozenset((*recorded, *(turn.answers.withdrawn if turn is not None else ())))

    async def _facts(self, stored: StoredResponse) -> tuple[Fact, ...]:
        ref = stored.ref
        facts = await self._runtime.sessions.facts_of_turn(stored.owner, ref.session, ref.turn)
        return tuple([fact for _, fact in facts])


def _next(ref: Ref) -> Ref:
    return Ref(ref.session, ref.turn, ref.part + 1)


def _unknown(approval: Approval) -> ApiError:
    words = f"there is no approval request {shortened(approval.request_id)!r}"
    return invalid_at(f"{approval.param}.approval_request_id", words, "approval_not_found", 404)


def _answered_already(approval: Approval) -> ApiError:
    words = f"{shortened(approval.request_id)!r} has already been answered or has expired"
    return invalid_at(f"{approval.param}.approval_request_id", words, "approval_answered")
