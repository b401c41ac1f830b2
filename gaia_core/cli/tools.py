"""`gaia tools`: what agents can do, which definitions models are sent, and whether a change breaks recorded calls."""

import os
import sys
from pathlib import Path
from typing import Any

import attrs
import click
import msgspec

from gaia_core.agent import Agent
from gaia_core.catalog import (
    LOCK_NAME,
    Catalog,
    Lock,
    decode_lock,
    find_plugins,
    lock_changes,
    make_toolset,
    read_lock,
    write_lock,
)
from gaia_core.cli._config_option import config_option, read_catalog
from gaia_core.cli._shell_completion import complete_agent
from gaia_core.cli._toolset_versions import is_version, schema_of
from gaia_core.cli.terminal._echo import echo
from gaia_core.cli.terminal._table import json_option, print_table
from gaia_core.errors import ConfigError, GaiaError, LockError, NotFoundError
from gaia_core.nesting import ENVELOPE_LEVELS, MAX_NESTING, check_nesting
from gaia_core.tools import Bound, Difference, ToolDefinition, Toolset, define, diff, effects_text, nearest
from gaia_core.turn.context._context_budget import CHARS_PER_TOKEN

_COLUMNS = ("tool", "agent", "from", "effects", "approval", "description")


class _NotComparedError(click.ClickException):
    """Nothing was compared: exit code 2, because 1 means a difference."""

    exit_code = 2


class _ToolDescription(msgspec.Struct):
    """One tool, as it is sent to a model."""

    name: str
    description: str
    parameters: dict[str, Any]

    def definition(self) -> ToolDefinition:
        """The same, for comparing."""
        return define(self.name, self.description, msgspec.json.encode(self.parameters))


class _Schema(msgspec.Struct):
    """What `gaia tools schema` prints and `gaia tools diff` reads: instructions by line, tools by name."""

    tools: list[_ToolDescription]
    instructions: list[str] = []
    fingerprint: str = ""
    agent: str = ""
    """The installed agent that has them; "": no agent's, or recorded."""


@click.group(invoke_without_command=True)
@config_option
@click.option("--agent", "-a", shell_complete=complete_agent, help="Only the tools of this agent.")
@json_option
@click.pass_context
def tools(context: click.Context, config: Path | None, agent: str | None, as_json: bool) -> None:
    """List the tools of each agent."""
    context.obj = config
    if context.invoked_subcommand is None:
        _list(read_catalog(config, locked=False), agent, as_json=as_json)


@tools.command()
@click.argument("name", required=False, metavar="[TOOLSET|AGENT]")
@click.pass_obj
def schema(config: Path | None, name: str | None) -> None:
    """Print, as JSON, the tool definitions of a toolset or an agent, as models are sent them.

    A toolset is made with its default arguments, an agent as configured. Without a name: the default agent. Save the
    output to compare it later (`gaia tools diff`).
    """
    catalog = read_catalog(config, locked=False)
    echo(_pretty(_installed(name or f"agent:{catalog.default_agent}", catalog)))


@tools.command()
@click.argument("name")
@click.option("--agent", "-a", shell_complete=complete_agent, help="Only the tool of this agent.")
@click.pass_obj
def show(config: Path | None, name: str, agent: str | None) -> None:
    """Show the tool NAME of each agent that has it: its definition, the tokens that takes, and what it may do."""
    catalog = read_catalog(config, locked=False)
    agents = catalog.agents if agent is None else (catalog.agent(agent),)
    found = [_shown(each, member) for each in agents if (member := each.tools.get(name)) is not None]
    if not found:
        known = sorted({known for each in agents for known in each.tools.names})
        raise NotFoundError(f"there is no tool {name!r}.{nearest(name, known)} Tools: {', '.join(known) or 'none'}")
    echo("\n\n".join(found))


@tools.command()
@config_option
@click.option("--check", is_flag=True, help="Write nothing; exit with status 1 if the lock is not up to date.")
@click.pass_obj
def lock(above: Path | None, config: Path | None, check: bool) -> None:  # click passes it by name
    """Write gaia.lock: the definitions of the agents' tools, as you have reviewed them.

    The file lies beside gaia.toml. If it exists, `gaia serve` and `gaia chat` refuse a tool whose definition, effects
    or need of approval differs from it. Prints the differences from the previous lock.
    """
    config = config or above
    folder = config.resolve().parent if config is not None else Path.cwd()
    try:
        before, unusable = read_lock(folder), ""
    except LockError as error:
        before, unusable = None, str(error)
    catalog = read_catalog(config, locked=False)
    if catalog.unlisted:
        raise click.ClickException(
            f"nothing was locked: {', '.join(catalog.unlisted)} did not list its tools, and a lock without them would "
            "refuse them all"
        )
    now = Lock.of(catalog.agents)
    said = unusable or (lock_changes(before, now) if before is not None else "")
    if said:
        echo(said)
    if check:
        if before is None or said:
            raise click.ClickException(
                f"{folder / LOCK_NAME} is not up to date; review the changes and run: gaia tools lock"
            )
        return
    path = write_lock(folder, now)
    count = sum(len(entry.tools) for entry in now.agents)
    echo(f"{path}: {count} tools of {len(now.agents)} agents are locked")


@tools.command("diff")
@click.argument("old")
@click.argument("new")
@click.pass_context
def diff_(context: click.Context, old: str, new: str) -> None:
    """Show what changed from OLD to NEW.

    Each is a file that `gaia tools schema` or `gaia tools lock` wrote (- for stdin), the name of a toolset or an agent,
    or a version of a package: a wheel, a project's folder, or git:REVISION[:FOLDER]; with #NAME if it has several
    toolsets. Of a lock and an agent, what the lock says of that agent is compared. The code of a version is run in a
    separate process, and its factory is called without arguments. Exit status 0: every call made for OLD fits NEW; 1:
    some may not; 2: they can't be compared.
    """
    try:
        before, after = _same_kind(_read(old, context.obj), _read(new, context.obj), context.obj)
        difference = _compared(before, after)
    except GaiaError as error:
        raise _NotComparedError(str(error)) from error
    echo("\n".join((str(difference), *_effects_changed(before, after))))
    context.exit(0 if difference.compatible else 1)


def _list(catalog: Catalog, only: str | None, *, as_json: bool) -> None:
    named = catalog.agents if only is None else (catalog.agent(only),)
    agents = sorted(named, key=lambda agent: agent.name != catalog.default_agent)
    rows = [_row(agent, member) for agent in agents for member in agent.tools.members]
    print_table(_COLUMNS, rows, whole=("tool", "agent"), as_json=as_json)
    for agent in agents if sys.stdout.isatty() and not as_json else ():
        if not agent.tools:
            echo(f"The agent {agent.name} has no tools.")


def _row(agent: Agent, member: Bound) -> tuple[str, ...]:
    tool = member.tool
    first = tool.description.strip().split("\n", 1)[0]
    approval = "asks" if agent.approvals.reason(tool) else "no"
    return tool.name, agent.name, member.origin, effects_text(tool.effects) or "none", approval, first


def _same_kind(old: _Schema | Lock, new: _Schema | Lock, config: Path | None) -> tuple[_Schema, _Schema]:
    """Both as what can be compared: a lock names each tool with its agent, and holds the tools of all agents.

    Raises GaiaError when a lock can't be compared with the other.
    """
    if isinstance(old, Lock) and isinstance(new, _Schema):
        return _beside_lock(old, new, config)
    if isinstance(new, Lock) and isinstance(old, _Schema):
        was, now = _beside_lock(new, old, config)
        return now, was
    return _of_lock(old), _of_lock(new)


def _beside_lock(lock: Lock, other: _Schema, config: Path | None) -> tuple[_Schema, _Schema]:
    """What *lock* says of the agent *other*, and the same of *other* as it is now."""
    if not other.agent:
        names = ", ".join(entry.agent for entry in lock.agents) or "none"
        raise GaiaError(f"a lock holds the tools of agents; compare it with one of them ({names}) or with a lock")
    now = Lock.of((read_catalog(config, locked=False).agent(other.agent),))
    kept = {entry.agent for entry in now.agents}
    was = msgspec.structs.replace(lock, agents=tuple(entry for entry in lock.agents if entry.agent in kept))
    return _of_lock(was), _of_lock(now)


def _installed(name: str, catalog: Catalog) -> _Schema:
    """The definitions of the agent or toolset *name*, or `agent:NAME`, `toolset:NAME`. Raises NotFoundError."""
    kind, _, bare = name.rpartition(":")
    plugins = find_plugins(os.environ.get("GAIA_PLUGINS", ""), (bare,))[0]
    agents = tuple(agent.name for agent in catalog.agents)
    is_agent = kind in ("", "agent") and bare in agents
    is_toolset = kind in ("", "toolset") and bare in plugins
    if is_agent and is_toolset:
        raise NotFoundError(f"{bare!r} is an agent and a toolset; say agent:{bare} or toolset:{bare}")
    if is_agent:
        agent = catalog.agent(bare)
        return msgspec.structs.replace(_told(agent.tools, agent.system_text), agent=agent.name)
    if is_toolset:
        try:
            toolset = make_toolset(plugins[bare], {}, f"toolset {bare}", Path.cwd())
        except ConfigError as error:
            raise ConfigError(f"{error}. Name an agent that uses it instead: {', '.join(agents)}") from error
        return _told(toolset, toolset.instructions)
    known = (*agents, *plugins)
    raise NotFoundError(
        f"there is no toolset or agent {name!r}.{nearest(bare, known)} "
        f"Agents: {', '.join(agents) or 'none'}; toolsets: {', '.join(plugins) or 'none'}"
    )


def _told(toolset: Toolset, instructions: str) -> _Schema:
    listed = [
        _ToolDescription(definition.name, definition.description, msgspec.json.decode(definition.parameters))
        for definition in toolset.definitions
    ]
    return _Schema(listed, instructions.splitlines(), toolset.fingerprint)


def _pretty(told: _Schema) -> str:
    ordered = {"fingerprint": told.fingerprint, "instructions": told.instructions, "tools": told.tools}
    return msgspec.json.format(msgspec.json.encode(ordered), indent=2).decode()


def _read(name: str, config: Path | None) -> _Schema | Lock:
    """The recorded schema or lock in the file *name*, or the schema of the installed toolset or agent. Raises
    GaiaError."""
    path = Path(name)
    if is_version(name):
        return _decoded(schema_of(name), name)
    if name == "-":
        return _decoded(sys.stdin.read().encode(), "stdin")
    if path.is_file():
        return _decoded(path.read_bytes(), name)
    try:
        return _installed(name, read_catalog(config, locked=False))
    except NotFoundError as error:
        raise NotFoundError(f"there is no such file, and {error}") from None


def _decoded(data: bytes, where: str) -> _Schema | Lock:
    try:
        check_nesting(data, MAX_NESTING + ENVELOPE_LEVELS)
        if "agents" in msgspec.json.decode(data, type=dict[str, msgspec.Raw]):
            return decode_lock(data, where)
        return msgspec.json.decode(data, type=_Schema)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GaiaError(f"{where} is no output of `gaia tools schema`: {error}") from None


def _of_lock(lock: _Schema | Lock) -> _Schema:
    """What a lock says, each tool and line with its agent, effects and need of approval as lines beside them; a schema
    as it is."""
    if isinstance(lock, _Schema):
        return lock
    told, lines = [], []
    for entry in lock.agents:
        lines += [f"{entry.agent}: {line}" for line in entry.instructions]
        for tool in entry.tools:
            definition = tool.definition
            name = f"{entry.agent}/{tool.name}"
            told.append(_ToolDescription(name, definition.description, msgspec.json.decode(definition.parameters)))
            lines.append(f"{name}: effects {', '.join(tool.effects) or 'none'}{', asks' if tool.approval else ''}")
    return _Schema(told, lines)


def _compared(old: _Schema, new: _Schema) -> Difference:
    difference = diff([tool.definition() for tool in old.tools], [tool.definition() for tool in new.tools])
    return attrs.evolve(difference, instructions=old.instructions != new.instructions)


def _effects_changed(old: _Schema, new: _Schema) -> list[str]:
    """The lines about effects that are in one lock and not in the other."""
    before, after = ([line for line in told.instructions if ": effects " in line] for told in (old, new))
    return [f"- {line}" for line in before if line not in after] + [f"+ {line}" for line in after if line not in before]


def _shown(agent: Agent, member: Bound) -> str:
    """Everything about one tool of *agent*, for an operator. A recipe's arguments may be secret: only their names."""
    tool, recipe = member.tool, member.resource
    definition = tool.definition
    parts = (("name", definition.name), ("description", definition.description), ("parameters", definition.parameters))
    counted = ", ".join(f"{what} {_tokens(len(text))}" for what, text in parts)
    resource = "none"
    if recipe is not None:
        resource = f"{recipe.name}({', '.join(name for name, _ in recipe.arguments)}), one for each {recipe.scope}"
    flags = [word for word, there in (("exclusive", tool.exclusive), ("idempotent", tool.idempotent)) if there]
    facts = (
        ("agent", agent.name),
        ("from", f"{member.origin}{f' ({member.package})' if member.package else ''}"),
        ("effects", effects_text(tool.effects) or "none"),
        ("approval", agent.approvals.reason(tool) or "no"),
        ("timeout", f"{tool.timeout or agent.limits.tool_seconds:g} s"),
        ("also", ", ".join(flags) or "-"),
        ("resource", resource),
        ("sent", "always" if tool.name in agent.core else "once find_tools has loaded it"),
        ("tokens", f"about {_tokens(len(definition.encoded))} ({counted}), at {CHARS_PER_TOKEN:g} characters a token"),
    )
    lines = [tool.name, *(f"  {what:<9} {value}" for what, value in facts), "  a model is told:"]
    told = msgspec.json.format(definition.encoded, indent=2).decode()
    return "\n".join((*lines, *(f"    {line}" for line in told.splitlines())))


def _tokens(chars: int) -> int:
    return max(1, round(chars / CHARS_PER_TOKEN))
