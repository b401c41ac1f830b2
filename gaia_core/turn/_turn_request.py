"""TurnRequest: what one turn is asked to do, and who is there for it, as one frozen value.

await runtime.start(session, "Hi")                                           # a text alone: nobody is asked
await runtime.start(session, TurnRequest("Hi", audience=Audience.INTERACTIVE))
"""

from collections.abc import Callable
from enum import StrEnum

import attrs

from gaia_core.facts import Edit
from gaia_core.frozen_types import check_of, made_once, refusal, typed
from gaia_core.messages import Content, Message, are_messages, is_content
from gaia_core.models import ResponseFormat, Sampling, ToolChoice
from gaia_core.tools import ToolDefinition

_are_edits = check_of(tuple[Edit, ...])
_is_answer_check = check_of(Callable[..., object] | None)


class Audience(StrEnum):
    """Who is there while a turn runs: who answers its approvals and questions, and who waits for its answer.

    | audience | approvals | questions | model queue | after a restart |
    |---|---|---|---|---|
    | NOBODY | denied | fail | first | resumed |
    | CLIENT | asked | fail | first | given up, unless it waits for an approval |
    | RETURNING | asked | fail | first | resumed: its client asks again |
    | INTERACTIVE | asked | asked | first | resumed |
    | BACKGROUND | asked | fail | after those that somebody waits for | resumed |
    | UNATTENDED | denied | fail | after those that somebody waits for | resumed |
    """

    NOBODY = "nobody"
    CLIENT = "client"
    RETURNING = "returning"
    INTERACTIVE = "interactive"
    BACKGROUND = "background"
    UNATTENDED = "unattended"

    @property
    def approves(self) -> bool:
        """Whether approvals are asked for."""
        return self not in (Audience.NOBODY, Audience.UNATTENDED)

    @property
    def answers(self) -> bool:
        """Whether a tool's questions are asked."""
        return self is Audience.INTERACTIVE

    @property
    def waits(self) -> bool:
        """Whether somebody waits for the answer."""
        return self not in (Audience.BACKGROUND, Audience.UNATTENDED)

    @property
    def of_delegate(self) -> "Audience":
        """Who is there for a sub-agent: its approvals and questions reach interactive readers only."""
        if self is Audience.INTERACTIVE:
            return self
        return Audience.NOBODY if self.waits else Audience.UNATTENDED


@attrs.frozen(kw_only=True, field_transformer=typed)
class TurnOptions:
    """What a client may say of one turn, beyond its words.

        TurnOptions(sampling=Sampling(temperature=0.0, max_tokens=500), instructions="Answer in French.")
        await runtime.run(agent, "Hi", options=TurnOptions(tool_calls=0))       # no tools in this turn

    *client_tools* are offered to the model beside the agent's own; when the model picks one, the turn ends with
    `tool_calls` and the client runs it. *tool_choice* and *parallel_tool_calls* concern these. *instructions* are sent
    to the model after the agent's own, in this turn only. *tool_calls* bounds the agent's own calls: after that many,
    the model is offered no tools any more and answers with what it knows. *stream_client_calls*: the calls of client
    tools are sent as the model writes them (`ClientCallDelta`); when one of these turns out not to be whole, the turn
    fails, at a limit of tokens too.
    """

    __attrs_pre_init__ = made_once

    sampling: Sampling = Sampling()
    client_tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    instructions: str = ""
    tool_calls: int | None = None
    stream_client_calls: bool = False


NO_OPTIONS = TurnOptions()


@attrs.frozen
class TurnRequest:
    """What a turn is asked to do.

    | field | meaning |
    |---|---|
    | content | the user's message; None when *input* or *transcript* has all there is |
    | audience | who is there: see `Audience` |
    | options | sampling, client tools, response format: see `TurnOptions` |
    | input | further messages of the request, before *content*: several, or results of a client's tools |
    | transcript | the caller's whole conversation: the session gives resources and grants, nothing is recorded there |
    | record | the session in whose record the turn on a *transcript* stands, where it has one |
    | id | the turn's id, by which it is begun once at most in its session; by default a new one |
    | parent | the record that the message follows, where that isn't the last (edit, regenerate); 0: a new beginning |
    | note | kept with the turn's first record, for the surface that asks |
    | edits | messages of the conversation that models are not shown any more |
    | check_answer | what is wrong with a text of the right format, in words for the model. Not recorded |
    | summarize | the answer is a summary of the *transcript*, made in rounds that fit the model's window; no tools |
    """

    __attrs_pre_init__ = made_once

    content: Content | None = None
    audience: Audience = Audience.NOBODY
    options: TurnOptions = NO_OPTIONS
    input: tuple[Message, ...] = ()
    transcript: tuple[Message, ...] | None = None
    record: str = ""
    id: str = ""
    parent: int | None = None
    note: bytes = b""
    edits: tuple[Edit, ...] = ()
    summarize: bool = False
    check_answer: Callable[[str], tuple[str, ...]] | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        messages: object = self.transcript
        if not (
            (self.content is None or is_content(self.content))
            and type(self.audience) is Audience
            and type(self.options) is TurnOptions
            and are_messages(self.input)
            and (messages is None or are_messages(messages))
            and type(self.record) is str
            and type(self.id) is str
            and (self.parent is None or type(self.parent) is int)
            and type(self.note) is bytes
            and _are_edits(self.edits)
            and _is_answer_check(self.check_answer)
            and type(self.summarize) is bool
        ):
            raise refusal(self)
