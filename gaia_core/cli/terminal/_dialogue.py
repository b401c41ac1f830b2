"""A dialogue: message after message, and the slash commands that are no messages.

A line is a command when it is a slash and one word of letters, with or without an argument: `/etc/hosts says what?` is
a message. A command that doesn't exist is named, and not sent to the model.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import attrs
import msgspec

from gaia_core.cli._journal_option import OWNER, SHORT_ID
from gaia_core.cli.terminal._conversation import Conversation
from gaia_core.cli.terminal._prompt import LEAVE
from gaia_core.cli.terminal._recorded_conversation import when
from gaia_core.errors import ConfigError, GaiaError, NotFoundError
from gaia_core.journal import SessionInfo
from gaia_core.runtime.sessions.export import UNTITLED, export, shape_of
from gaia_core.tools import effects_text, nearest
from gaia_core.visible_text import visible

_COMMAND = re.compile(r"/([A-Za-z]+|\?)?(?:\s+(.*))?", re.DOTALL)
_RECENT = 10


@attrs.frozen
class _Help:
    """One command: its *name*, its *argument* ("": none), and what it does."""

    name: str
    argument: str
    words: str


COMMANDS = (
    _Help("help", "", "list these commands"),
    _Help("new", "", "begin a new session with the same agent"),
    _Help("sessions", "[ID]", "list the latest sessions, or continue one"),
    _Help("agent", "[NAME]", "list the agents, or let another one continue this session"),
    _Help("model", "[NAME]", "list the configured models, or let this session use another one"),
    _Help("tools", "", "list the agent's tools"),
    _Help("save", "[FILE]", "write the session to a file: Markdown, or JSON if it ends in .json"),
    _Help("quit", "", "leave (also Ctrl-D)"),
)


def dialogue(talk: Conversation) -> int:
    """Message after message, until the person leaves. The exit code."""
    commands = SlashCommands(talk)
    talk.person.complete = commands.complete
    talk.greet()
    while True:
        talk.take_left()
        message = talk.person.message()
        if message is None:
            break
        if (found := _COMMAND.fullmatch(message)) is None:
            talk.say(message)
        elif (found[1] or "").lower() in LEAVE:
            break
        else:
            commands.run((found[1] or "").lower(), (found[2] or "").strip())
    talk.farewell()
    return 0


@attrs.frozen
class SlashCommands:
    """What a person may do in a conversation beside talking."""

    talk: Conversation

    def run(self, name: str, argument: str) -> None:
        """Run the command *name*, without its slash. What is wrong is shown."""
        try:
            self._run(name, argument)
        except GaiaError as error:
            self._line(f"✗ {error}", "red")
        self.talk.screen.rest()

    def _run(self, name: str, argument: str) -> None:
        match name:
            case "" | "?" | "help":
                self._help()
            case "new":
                self._use_session(None)
            case "sessions":
                self._use_session(argument) if argument else self._sessions()
            case "agent":
                self._agent(argument)
            case "model":
                self._model(argument)
            case "tools":
                self._tools()
            case "save":
                self._save(argument)
            case _:
                names = [f"/{each.name}" for each in COMMANDS]
                hint = nearest(f"/{name}", names)
                raise NotFoundError(f"there is no command /{name}.{hint} /help lists them; nothing was sent")

    def complete(self, text: str) -> Iterable[str]:
        """What may replace the last word of *text*, which is what precedes the cursor."""
        command, space, word = text.partition(" ")
        if not space:
            names = (f"/{each.name}" for each in COMMANDS)
            return [f"{name} " for name in names if text.startswith("/") and name.startswith(text)]
        catalog = self.talk.runtime.catalog
        match command:
            case "/agent":
                known = [agent.name for agent in catalog.agents]
            case "/model":
                known = [model.name for model in catalog.models if not model.embeddings]
            case "/sessions":
                known = [info.id[:SHORT_ID] for info in self._recent()]
            case _:
                known = []
        return [each for each in known if each.startswith(word)]

    def _help(self) -> None:
        for each in COMMANDS:
            self._line(f"  {f'/{each.name} {each.argument}':<16} {each.words}")
        self._line("  Alt-Enter, or \\ at the end of a line, begins a new line; Ctrl-R searches what you typed", "dim")

    def _use_session(self, id: str | None) -> None:
        talk = self.talk
        before = talk.said, talk.session.id
        talk.loop.run(talk.use_session(id))
        if talk.recorded and before[0]:
            self._line(f"left {before[1][:SHORT_ID]}; /sessions {before[1][:SHORT_ID]} goes back to it", "dim")
        talk.greet()

    def _sessions(self) -> None:
        recent = self._recent()
        for info in recent:
            here = "*" if info.id == self.talk.session.id else " "
            title = " ".join((info.title or UNTITLED).split())
            self._line(f"{here} {info.id[:SHORT_ID]}  {when(info.updated_at)}  {info.agent}  {title}")
        if not recent:
            self._line("There are no sessions yet.", "dim")

    def _recent(self) -> tuple[SessionInfo, ...]:
        sessions = self.talk.runtime.sessions
        return self.talk.loop.run(sessions.list(OWNER, limit=_RECENT, surface=""))[0]

    def _agent(self, name: str) -> None:
        talk = self.talk
        if name:
            talk.loop.run(talk.use_agent(name))
            self._who()
            return
        for agent in talk.runtime.catalog.agents:
            here = "*" if agent.name == talk.session.agent.name else " "
            self._line(f"{here} {agent.name}  {agent.description}".rstrip())

    def _model(self, name: str) -> None:
        talk = self.talk
        if name:
            talk.loop.run(talk.use_model(name))
            self._who()
            return
        for model in talk.runtime.catalog.models:
            here = "*" if model.name == talk.session.agent.model else " "
            self._line(f"{here} {model.name}  {model.description or model.kind}")

    def _who(self) -> None:
        agent = self.talk.session.agent
        model = self.talk.runtime.catalog.model(agent.model)
        self._line(f"{agent.name} · {model.description or model.kind}", "dim")

    def _tools(self) -> None:
        agent = self.talk.session.agent
        for member in agent.tools.members:
            asks = ", asks" if agent.approvals.reason(member.tool) else ""
            first = member.tool.description.strip().split("\n", 1)[0]
            self._line(f"  {member.name}  ({effects_text(member.tool.effects) or 'no effects'}{asks})  {first}")
        if not agent.tools:
            self._line(f"The agent {agent.name} has no tools.", "dim")

    def _save(self, argument: str) -> None:
        talk = self.talk
        path = Path(argument or f"{talk.session.id[:SHORT_ID]}.md").expanduser()
        as_json = path.suffix.lower() == ".json"
        exported = talk.loop.run(self._exported(as_json=as_json))
        try:
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(exported)
        except FileExistsError:
            raise ConfigError(f"{path} exists; nothing was written. Give another name: /save FILE") from None
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror}") from None
        self._line(f"saved to {path}", "dim")

    async def _exported(self, *, as_json: bool) -> str:
        runtime, session = self.talk.runtime, self.talk.session
        if not await runtime.sessions.exists(session.owner, session.id):
            raise NotFoundError("nothing was said in this session yet, so there is nothing to save")
        info = await runtime.sessions.get(session.owner, session.id)
        facts = await runtime.sessions.facts(session.owner, session.id)
        exported = export(shape_of(runtime.catalog, info), facts, as_json=as_json)
        return exported.content or msgspec.json.format(msgspec.json.encode(exported)).decode()

    def _line(self, text: str, style: str = "") -> None:
        self.talk.screen.line(visible(text), style)
