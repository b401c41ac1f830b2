"""Approval: whether a validated call may run, whether a person must be asked, and what a time-out means.

A call runs without asking when the policy doesn't mind, a grant of the session covers it, or the caller's key approved
the tool beforehand. An approval that times out counts as denied. `_approval_grant`: what a lasting one covers.

An answer holds for the agent and the arguments that were shown (law 14). A turn that is resumed with another
configuration of its agent withdraws what it asked, and asks again.
"""

import time
from typing import Any

from gaia_core.facts import Asked, Decided
from gaia_core.messages import ToolCall
from gaia_core.session import new_id
from gaia_core.tools import Bound
from gaia_core.turn._turn_context import TurnContext
from gaia_core.turn.calls._approval_grant import Grant, encode_grant, grant_of
from gaia_core.turn.calls._call_plan import CallForApproval, Plan, ReadyCall, RefusedCall
from gaia_core.turn.calls._pending_requests import APPROVAL, Decision

_BEFOREHAND = "the key that asks has approved this tool beforehand"

AGENT_CHANGED = "the agent has changed since this was asked; it is asked again"
"""The reason of a withdrawn request for approval."""


def unattended(call: ToolCall, reason: str) -> RefusedCall:
    """A call that needs approval, for *reason*, where nobody is here to give it."""
    words = f"{reason}, and nobody is here to give it"
    content = f"Denied: {words}. Go on without this call, or tell the user what would be needed."
    return RefusedCall(call, "denied", content, Decided(call.id, approved=False, reason=words))


def _beside_clients(call: ToolCall, reason: str) -> RefusedCall:
    """A call that needs approval, for *reason*, beside calls that the client runs."""
    words = f"{reason}, which is not asked for beside calls of the client's tools"
    content = f"Denied: {words}. Call {call.name} again, alone."
    return RefusedCall(call, "denied", content, Decided(call.id, approved=False, reason=words))


def still_holds(context: TurnContext, asked: Asked) -> bool:
    """Whether *asked* was shown for the agent that would make the call now."""
    return bool(asked.agent) and asked.agent == context.agent.fingerprint


def is_allowed(context: TurnContext, call: ToolCall, bound: Bound) -> bool:
    """Whether *call* needs no question now: by the policy, a grant, or the caller's key."""
    return (
        context.agent.approvals.reason(bound.tool) is None
        or _grant_for(context, call) is not None
        or context.approves(call.name)
    )


def _grant_for(context: TurnContext, call: ToolCall) -> Grant | None:
    for grant in context.grants:
        if grant.holds_for(context.agent.fingerprint) and grant.covers(call.name, call.arguments):
            return grant
    return None


def approval_of(
    context: TurnContext,
    call: ToolCall,
    bound: Bound,
    arguments: Any,
    withdrawn: Asked | None = None,
    *,
    asks: bool = True,
) -> Plan:
    """What becomes of the validated *call*: it runs, waits for a person, or is denied because nobody can be asked.

    *asks*: somebody may be asked now.
    *withdrawn*: the request that another configuration of the agent made for it. A person saw it and has not answered,
    so one is asked again, also where the policy would not ask any more.
    """
    policy = context.agent.approvals
    reason = policy.reason(bound.tool) or (withdrawn.reason if withdrawn is not None else None)
    if reason is None:
        return ReadyCall(call, bound, arguments)
    grant = _grant_for(context, call)
    if grant is not None:
        decided = Decided(call.id, approved=True, reason=f"granted for this session: {grant}", scope="session")
        return ReadyCall(call, bound, arguments, decided)
    if context.approves(call.name):
        return ReadyCall(call, bound, arguments, Decided(call.id, approved=True, reason=_BEFOREHAND))
    if not context.audience.approves:
        return unattended(call, reason)
    if not asks:
        return _beside_clients(call, reason)
    asked = Asked(
        f"{APPROVAL}{new_id()}",
        call.id,
        call.name,
        call.arguments,
        reason,
        policy.timeout,
        time.time() + policy.timeout,
        str(grant_of(call.name, call.arguments, context.agent.fingerprint)),
        context.path,
        context.agent.fingerprint,
    )
    context.turn.answers.ask(asked.approval_id)
    return CallForApproval(call, bound, arguments, asked, withdrawn=withdrawn)


async def wait_for_decision(context: TurnContext, plan: CallForApproval) -> Decided:
    """Wait for the person's answer until the approval expires, holding no slot; the decision, to be recorded."""
    call, asked = plan.call, plan.asked
    with context.budget.asking():
        decision = await context.turn.answers.wait(asked.approval_id, asked.expires_at - time.time())
    if decision is None:
        decision = Decision(approved=False, reason=f"nobody answered within {asked.seconds:g} s")
    assert isinstance(decision, Decision)
    lasting = decision.approved and decision.scope == "session"
    grant = encode_grant(grant_of(call.name, call.arguments, asked.agent)) if lasting else ""
    return Decided(call.id, decision.approved, decision.reason, asked.approval_id, decision.scope, grant)
