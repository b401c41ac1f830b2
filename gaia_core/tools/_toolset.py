"""Toolset: a frozen collection of tools, and its algebra.

    files(root) | shell(allow=("git",)).prefixed("sh_")      everything of both; a collision is an error (law 4)
    .only("read_file")      .without("write_file")           .where(lambda t: t.effects <= {"read"})
    .prefixed("a_")         .renamed(read_file="read")       .described(read_file="…")
    .approving("delete")    .with_instructions("…")

Each operator returns a new value. Tools are sorted by name, so the order of composition never shows. What depends on
the tools only (definitions, their bytes, the instructions' text, the fingerprint) is made here, once (law 3).
"""

import bisect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from gaia_core.errors import ToolCollisionError, ToolDeclarationError, ToolsetError
from gaia_core.fingerprint import fingerprint_of
from gaia_core.frozen_types import made_once, shown, typed_as
from gaia_core.tools._resource import Recipe
from gaia_core.tools._suggestion import nearest
from gaia_core.tools._tool import EFFECTS, Effect, Tool, ToolDefinition, check_text
from gaia_core.tools._type_shape import annotation_text, may_be

# `{{` and `}}` before `{name}`, so that braces are read from the left.
_BRACES = re.compile(r"\{\{|\}\}|\{([A-Za-z0-9_-]+)\}")


@attrs.frozen(field_transformer=typed_as(ToolsetError))
class ToolInstructions:
    """Instructions as one tool carries them.

    *names* maps the names that the template uses to the names that these tools have now; *name* is the one under
    which the carrying tool appears in the template.
    """

    __attrs_pre_init__ = made_once

    template: str
    names: tuple[tuple[str, str], ...]
    name: str

    def rename(self, new_name: Callable[[str], str]) -> "ToolInstructions":
        return attrs.evolve(self, names=tuple((old, new_name(current)) for old, current in self.names))


@attrs.frozen(field_transformer=typed_as(ToolsetError))
class Bound:
    """A tool with what its toolset gave it: where it comes from, its instructions, the recipe of its resource.

    *package* is the distribution that it came with, `gaia-toolset-files 0.1.0`; "" when none is known.
    """

    __attrs_pre_init__ = made_once

    tool: Tool
    origin: str
    notes: tuple[ToolInstructions, ...] = ()
    resource: Recipe | None = None
    package: str = attrs.field(default="", eq=False)

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name

    @property
    def server(self) -> str:
        """The server that runs it, where the toolset is a source's: the name in its origin `mcp:NAME`; else ""."""
        return self.origin.partition(":")[2]


@attrs.frozen(init=False, repr=False)
class Toolset:
    """A frozen collection of tools. See the module's text for its operators.

    *name* says where the tools come from (in messages and `Bound.origin`). *instructions* tell the model how to use
    them; `{tool}` stands for a tool's present name, `{{` and `}}` for braces, and a line that names a tool which is
    not in the set any more is left out. *resource* is the recipe of what the tools' `ctx.resource` is.

    Raises ToolsetError for something that isn't a Tool, an argument of another type, or a placeholder that names none
    of the tools, and ToolCollisionError for two tools of one name.
    """

    __attrs_pre_init__ = made_once  # `__init__` and `_compose` fill by attrs' own init, which begins with it

    members: tuple[Bound, ...]
    """The tools with what binds them, sorted by name."""
    definitions: tuple[ToolDefinition, ...] = attrs.field(eq=False)
    """The definitions that models are sent, in canonical order."""
    instructions: str = attrs.field(eq=False)
    """Text for the system prompt; tool names in it are those that the tools have in this toolset."""
    fingerprint: str = attrs.field(eq=False)
    """`t1:` and the SHA-256 of definitions and instructions as sent: equal in every process and on every machine."""
    _names: tuple[str, ...] = attrs.field(eq=False)

    def __init__(
        self, name: str, tools: Iterable[Tool] = (), *, instructions: str = "", resource: Recipe | None = None
    ) -> None:
        given = _given(name, tools, resource)
        notes = _notes(name, instructions, tuple(item.name for item in given))
        self._compose(tuple(Bound(item, name, note, resource) for item, note in zip(given, notes, strict=True)))

    def _compose(self, members: tuple[Bound, ...]) -> "Toolset":
        ordered = _united(members)
        definitions = tuple(member.tool.definition for member in ordered)
        instructions = _instructions(ordered)
        self.__attrs_init__(
            ordered,
            definitions,
            instructions,
            _fingerprint(definitions, instructions),
            tuple(member.tool.name for member in ordered),
        )
        return self

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools, sorted by name."""
        return tuple(member.tool for member in self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, sorted."""
        return self._names

    @property
    def effects(self) -> frozenset[Effect]:
        """Everything that some tool may do."""
        return frozenset(effect for member in self.members for effect in member.tool.effects)

    def get(self, name: str) -> Bound | None:
        """The tool called *name* with what binds it, or None."""
        index = bisect.bisect_left(self._names, name)
        return self.members[index] if index < len(self._names) and self._names[index] == name else None

    def __getitem__(self, name: str) -> Tool:
        member = self.get(name)
        if member is None:
            raise KeyError(name)
        return member.tool

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[Tool]:
        return iter(self.tools)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"<Toolset {', '.join(self._names) or 'of no tools'}>"

    # The algebra: from frozen to frozen.

    def __or__(self, other: "Toolset") -> "Toolset":
        if not isinstance(other, Toolset):
            return _not_united(other)  # type: ignore[unreachable]  # for callers without a type checker
        return _of(self.members + other.members)

    def only(self, *names: str) -> "Toolset":
        """The tools called *names*."""
        self._check(names)
        return _of(tuple(member for member in self.members if member.name in names))

    def without(self, *names: str) -> "Toolset":
        """All tools but those called *names*."""
        self._check(names)
        return _of(tuple(member for member in self.members if member.name not in names))

    def where(self, predicate: Callable[[Tool], bool]) -> "Toolset":
        """The tools for which *predicate* is true."""
        return _of(tuple(member for member in self.members if predicate(member.tool)))

    def prefixed(self, prefix: str) -> "Toolset":
        """All tools, their names beginning with *prefix*."""
        check_text(prefix, "the prefix of tools' names", ToolsetError)
        return self._with_names(lambda name: prefix + name)

    def renamed(self, /, **new_by_old: str) -> "Toolset":
        """All tools, some under new names: `renamed(old="new")`. The handlers stay."""
        self._check(new_by_old)
        return self._with_names(lambda name: new_by_old.get(name, name))

    def described(self, /, **text_by_name: str) -> "Toolset":
        """All tools, some with another description."""
        self._check(text_by_name)
        return self._with_tools(
            lambda tool: attrs.evolve(tool, description=text_by_name[tool.name]) if tool.name in text_by_name else tool
        )

    def approving(self, *names: str) -> "Toolset":
        """All tools; those called *names* need approval, whatever an agent's policy says."""
        self._check(names)
        return self._with_tools(lambda tool: attrs.evolve(tool, approval=True) if tool.name in names else tool)

    def with_instructions(self, text: str) -> "Toolset":
        """All tools, with further instructions; `{tool}` names a tool by its present name."""
        notes = _notes("with_instructions", text, self._names)
        return _of(
            tuple(
                attrs.evolve(member, notes=tuple(sorted({*member.notes, *note}, key=attrs.astuple)))
                for member, note in zip(self.members, notes, strict=True)
            )
        )

    def from_package(self, package: str) -> "Toolset":
        """All tools, with the distribution that they came with (`Bound.package`); nothing else changes."""
        return _of(tuple(attrs.evolve(member, package=member.package or package) for member in self.members))

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._names:
                known = ", ".join(self._names) or "none"
                raise ToolsetError(f"there is no tool {name!r} here.{nearest(name, self._names)} Tools: {known}")

    def _with_names(self, new_name: Callable[[str], str]) -> "Toolset":
        return _of(
            tuple(
                attrs.evolve(
                    member,
                    tool=_renamed(member.tool, new_name(member.name)),
                    notes=tuple(note.rename(new_name) for note in member.notes),
                )
                for member in self.members
            )
        )

    def _with_tools(self, change: Callable[[Tool], Tool]) -> "Toolset":
        return _of(tuple(attrs.evolve(member, tool=change(member.tool)) for member in self.members))


def _given(name: object, tools: Any, resource: Any) -> tuple[Tool, ...]:
    """The tools that a toolset is given, when they and the other arguments are what they should be."""
    if type(name) is not str:
        raise ToolsetError(f"a toolset's name must be a str, not {shown(name)}; write Toolset('name', (tool, …))")
    if not isinstance(tools, Iterable):
        one = getattr(tools, "name", None) or getattr(tools, "__name__", None) or "tool"
        raise ToolsetError(
            f"toolset {name!r}: tools must be a tuple of tools, not {shown(tools)}; "
            f"write Toolset({name!r}, ({one},)), with the comma"
        )
    _check_recipe(name, resource)
    given = tuple(tools)
    for item in given:
        if type(item) is not Tool:
            raise ToolsetError(f"toolset {name!r}: {item!r} is not a Tool; decorate the function with @tool")
        if item.parameters.context is not None:
            _check_resource(name, item, resource)
    return given


def _check_recipe(name: str, resource: object) -> None:
    if resource is not None and type(resource) is not Recipe:
        called = getattr(resource, "__name__", "make")
        raise ToolsetError(
            f"toolset {name!r}: resource must be a Recipe or None, not {shown(resource)}; decorate the function that "
            f"yields it with @resource(), and call it: resource={called}(…)"
        )


def _check_resource(name: str, item: Tool, resource: Recipe | None) -> None:
    """Raise ToolsetError when *item* takes a `Context` of something else than its toolset's resource."""
    wanted = item.parameters.resource
    if resource is None:
        if not may_be(type(None), wanted):
            raise ToolsetError(
                f"toolset {name!r}: the tool {item.name} takes a Context[{annotation_text(wanted)}], and the toolset "
                "has no resource; write Toolset(…, resource=…), or Context[None]"
            )
    elif not may_be(resource.yields, wanted):
        raise ToolsetError(
            f"toolset {name!r}: the tool {item.name} takes a Context[{annotation_text(wanted)}], and the resource "
            f"{resource.name} yields {annotation_text(resource.yields)}; give the toolset another resource, or write "
            f"Context[{annotation_text(resource.yields)}]"
        )


def _not_united(other: object) -> Any:
    if isinstance(other, Tool):
        raise ToolsetError(f"| unites toolsets, and {other.name} is a tool; write | Toolset('name', ({other.name},))")
    return NotImplemented


def _of(members: tuple[Bound, ...]) -> Toolset:
    return Toolset.__new__(Toolset)._compose(members)  # noqa: SLF001  # the same class's second constructor


def _renamed(tool: Tool, name: str) -> Tool:
    if name == tool.name:
        return tool
    try:
        return attrs.evolve(tool, name=name)
    except ToolDeclarationError as error:
        raise ToolsetError(f"{tool.name!r} can't be renamed: {error}") from None


def _united(members: tuple[Bound, ...]) -> tuple[Bound, ...]:
    by_name: dict[str, Bound] = {}
    for member in members:
        other = by_name.setdefault(member.name, member)
        if other != member:
            raise ToolCollisionError(
                f"tool {member.name!r} comes from both {other.origin!r} and {member.origin!r}"
                f"{_difference(other, member)}; "
                "compose with .prefixed(), .renamed() or .without()"
            )
    return tuple(by_name[name] for name in sorted(by_name))


def _difference(one: Bound, other: Bound) -> str:
    if one.origin != other.origin:
        return ""
    if one.resource != other.resource:
        return " (with different resources)"
    return " (not the same tool)" if one.tool != other.tool else " (with different instructions)"


def _notes(owner: str, template: str, names: tuple[str, ...]) -> tuple[tuple[ToolInstructions, ...], ...]:
    """For each of *names*, the notes that it carries: one, or none when there are no instructions."""
    if not check_text(template, f"toolset {owner!r}: instructions", ToolsetError):
        return tuple(() for _ in names)
    for used in _BRACES.findall(template):
        if used and used not in names:
            raise ToolsetError(
                f"toolset {owner!r}: the instructions name {{{used}}}, which is not one of its tools."
                f"{nearest(used, names)} Write {{{{ and }}}} for braces"
            )
    pairs = tuple(sorted((name, name) for name in names))
    return tuple((ToolInstructions(template, pairs, name),) for name in names)


def _instructions(members: tuple[Bound, ...]) -> str:
    """The text of all instructions that a remaining tool carries, each once, sorted."""
    present: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, str]] = {}
    for member in members:
        for note in member.notes:
            present.setdefault((note.template, note.names), {})[note.name] = member.name
    texts = {_resolved(template, current) for (template, _), current in present.items()}
    return "\n\n".join(sorted(text for text in texts if text))


def _resolved(template: str, current: dict[str, str]) -> str:
    return "\n".join(
        _BRACES.sub(lambda match: current[match[1]] if match[1] else match[0][0], line)
        for line in template.strip().splitlines()
        if all(name in current for name in _BRACES.findall(line) if name)
    )


def _fingerprint(definitions: tuple[ToolDefinition, ...], instructions: str) -> str:
    told = b"\n".join([definition.encoded for definition in definitions])
    return fingerprint_of("t1", told + b"\0" + instructions.encode())


def effects_text(effects: Iterable[Any]) -> str:
    """Effects for people and fingerprints, in their canonical order: `read, write`."""
    present = frozenset(effects)
    return ", ".join(effect for effect in EFFECTS if effect in present)
