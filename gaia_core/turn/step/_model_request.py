"""What a model is sent: one function of the agent, the conversation and the client's options, so that a request can be
made before its turn is recorded and be compared with the one that the turn makes."""

from gaia_core.agent import FIND_TOOLS, Agent
from gaia_core.models import ModelRequest, ToolChoice
from gaia_core.tools import ToolDefinition
from gaia_core.turn._turn_request import TurnOptions
from gaia_core.turn.calls._long_results import READ_RESULT, read_result
from gaia_core.turn.context._context_budget import ContextBudget
from gaia_core.turn.context._context_window import messages_for
from gaia_core.turn.context._transcript import Transcript
from gaia_core.turn.step._response_format import told
from gaia_core.turn.tool_search._find_tools import core_definitions, loaded_definitions


def request_of(
    agent: Agent,
    transcript: Transcript,
    options: TurnOptions,
    window: ContextBudget | None,
    session_key: str,
    *,
    first: bool,
    calls: int = 0,
    mended: bool = False,
    core: tuple[ToolDefinition, ...] = (),
    owner: str = "",
) -> ModelRequest:
    """The request of a step.

    *first*: of the turn's first; *calls*: the agent's own that the turn has made; *mended*: only a final text's form is
    asked for again; *core*: the definitions that a search for tools leaves, where they are known already. *owner*:
    whose turn it is.
    """
    form = options.response_format
    words = told(form) if form is not None else ""
    if options.instructions:
        words = f"{options.instructions}\n\n{words}" if words else options.instructions
    messages, encoded = messages_for(agent, transcript, window, words)  # may add to what can be read on
    tools = agent.tools.definitions
    loaded: tuple[ToolDefinition, ...] = ()
    if agent.search is not None:
        tools = core or core_definitions(agent)
        loaded = loaded_definitions(agent, transcript.loaded)
    elif transcript.full and READ_RESULT not in agent.tools:
        tools = tuple(sorted((*tools, read_result.definition), key=lambda tool: tool.name))
    if options.tool_calls is not None and calls >= options.tool_calls:
        tools = loaded = ()
    choice, parallel = ToolChoice(), None
    if mended:
        # Once more, and only the form: nothing is called, and an endpoint that can holds the model to it.
        tools = loaded = ()
    elif options.client_tools:
        choice, parallel = _choice(options, own=bool(tools), first=first), options.parallel_tool_calls
        theirs = {tool.name for tool in options.client_tools}
        tools = tuple([tool for tool in tools if tool.name not in theirs])
        loaded = tuple([tool for tool in loaded if tool.name not in theirs])
        tools = tuple(sorted((*tools, *options.client_tools), key=lambda tool: tool.name))
    return ModelRequest(
        messages=messages,
        encoded=encoded,
        tools=tools + loaded if loaded else tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        # A form that holds from the first token on would keep a model from calling tools.
        response_format=form if not tools else None,
        sampling=options.sampling,
        session_key=session_key,
        owner=owner,
    )


def replaced(agent: Agent, options: TurnOptions) -> tuple[str, ...]:
    """The names of *agent*'s tools, and of those that a turn adds to them, which the client brings too: its own are
    called in this turn."""
    return tuple(sorted(tool.name for tool in options.client_tools if is_own(agent, tool.name)))


def is_own(agent: Agent, name: str) -> bool:
    """Whether a model may be sent a tool of that *name* by itself: one of *agent*'s, or what a turn adds to them."""
    if name == FIND_TOOLS and agent.search is not None:
        return True
    return name in agent.tools or (name == READ_RESULT and len(agent.tools) > 0)


def _choice(options: TurnOptions, *, own: bool, first: bool) -> ToolChoice:
    """A client's choice concerns its own tools: beside an agent's own it is forced on the first step only."""
    choice = options.tool_choice
    return ToolChoice() if choice.mode == "required" and choice.name is None and own and not first else choice
