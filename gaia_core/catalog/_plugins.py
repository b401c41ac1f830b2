"""Toolset plugins: packages that announce a factory by the entry point `gaia.toolsets`.

A factory's arguments in a configuration are checked against the factory's own signature; a broken plugin is a Problem
and harms nobody.

Of a name that two distributions announce none is imported, unless the configuration says whose is meant
(`gaia_core.distribution`).
"""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import attrs
import msgspec

from gaia_core.catalog._catalog import CatalogProblem
from gaia_core.distribution import OF, ambiguity, announcer, is_called, metadata_of
from gaia_core.errors import ConfigError
from gaia_core.frozen_types import made_once, typed
from gaia_core.tools import Source, Toolset, nearest
from gaia_core.tools._parameters import decode_custom
from gaia_core.tools._type_shape import annotation_text

ENTRY_POINTS = "gaia.toolsets"
OURS = ("use", "prefix", "only", "without", "rename", "approve")
"""The keys of a `tools` entry that are not the factory's."""


class BrokenPluginError(ConfigError):
    """A plugin is at fault, and not the configuration that uses it."""


@attrs.frozen(field_transformer=typed)
class Plugin:
    """A factory of toolsets, and the distribution that it comes from."""

    __attrs_pre_init__ = made_once

    name: str
    factory: Callable[..., Toolset | Source]
    distribution: str = ""
    version: str = ""

    @property
    def package(self) -> str:
        """The distribution with its version, for people; "" when it is unknown."""
        return f"{self.distribution} {self.version}".strip()


def find_plugins(selected: str = "", named: Iterable[str] = ()) -> tuple[dict[str, Plugin], tuple[CatalogProblem, ...]]:
    """The installed plugins by name, and what is wrong with others.

    *selected* is the value of GAIA_PLUGINS: names divided by commas; empty for all. A name is that of the entry point,
    or DISTRIBUTION#NAME. Those of *named* that are of the second form are found by it, too. Raises ConfigError for a
    selected name that isn't installed.
    """
    points = _selected(selected)
    plugins: dict[str, Plugin] = {}
    problems: list[CatalogProblem] = []
    for name, group in points.items():
        if len(group) > 1:
            problems.append(_ambiguous(name, group))
            continue
        try:
            plugins[name] = _loaded(group[0])
        except BrokenPluginError as error:
            problems.append(CatalogProblem(_source(group[0]), str(error), name))
    for qualified in sorted({name for name in named if OF in name}):
        for point in (point for group in points.values() for point in group if is_called(point, qualified)):
            try:
                plugins[qualified] = plugins.get(point.name) or _loaded(point)
            except BrokenPluginError as error:
                problems.append(CatalogProblem(_source(point), str(error), qualified))
    return plugins, tuple(problems)


def _selected(selected: str) -> dict[str, list[EntryPoint]]:
    """The entry points that *selected* names, by name, both sorted. Nothing is imported. Raises ConfigError."""
    points = sorted(
        entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, metadata_of(point, "Name"), point.value)
    )
    wanted = tuple(name.strip() for name in selected.split(",") if name.strip())
    for name in wanted:
        if not any(is_called(point, name) for point in points):
            known = {point.name for point in points}
            raise ConfigError(
                f"GAIA_PLUGINS names {name!r}, which is not installed.{nearest(name, known)} "
                f"Installed: {', '.join(sorted(known)) or 'none'}"
            )
    found: dict[str, list[EntryPoint]] = {}
    for point in points:
        if not wanted or any(is_called(point, name) for name in wanted):
            found.setdefault(point.name, []).append(point)
    return found


def _source(point: EntryPoint) -> str:
    return f"plugin {point.name!r} of {announcer(point)}"


def _ambiguous(name: str, points: list[EntryPoint]) -> CatalogProblem:
    announcers, example = ambiguity(points)
    words = (
        f"is announced by {announcers}, so none of them is loaded. Uninstall all but one, or name the distribution: "
        f'use = "{example}" in gaia.toml, or GAIA_PLUGINS={example}'
    )
    return CatalogProblem(f"plugin {name!r}", words, name)


def _loaded(point: EntryPoint) -> Plugin:
    """The plugin that *point* announces, imported. Raises BrokenPluginError."""
    try:
        factory = point.load()
        _parameters(factory)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a stranger's module raises on import
        raise BrokenPluginError(f"can't be loaded: {type(error).__name__}: {error}") from None
    return Plugin(point.name, factory, metadata_of(point, "Name"), metadata_of(point, "Version"))


def make_toolset(plugin: Plugin, arguments: Mapping[str, Any], place: str, folder: Path) -> Toolset:
    """The toolset that *plugin* makes of *arguments*; relative paths start at *folder*.

    Raises ConfigError, naming *place* and the argument, for a wrong name or type, and BrokenPluginError for a factory
    that fails or gives something else than a Toolset.
    """
    made = make(plugin, arguments, place, folder)
    if isinstance(made, Source):
        raise BrokenPluginError(f"{place}: what {made.name!r} can do is known only once it was asked")
    return made


def make(plugin: Plugin, arguments: Mapping[str, Any], place: str, folder: Path) -> Toolset | Source:
    """What *plugin* makes of *arguments*: a toolset, or where one comes from. Raises as `make_toolset` does."""
    given = _checked(plugin, arguments, place, folder)
    try:
        made = plugin.factory(**given)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    except (Exception, SystemExit) as error:
        words = f"{place}: the plugin {plugin.name!r} failed: {type(error).__name__}: {error}"
        raise BrokenPluginError(words) from error
    if not isinstance(made, Toolset | Source):
        raise BrokenPluginError(f"{place}: the plugin {plugin.name!r} made {type(made).__name__}, not a Toolset")
    return made.from_package(plugin.package) if isinstance(made, Toolset) else made


def _checked(plugin: Plugin, arguments: Mapping[str, Any], place: str, folder: Path) -> dict[str, Any]:
    parameters = _parameters(plugin.factory)
    for name in arguments:
        if name not in parameters:
            known = (*parameters, *OURS)
            raise ConfigError(
                f"{place}.{name}: the toolset {plugin.name!r} takes no {name!r}.{nearest(name, known)} "
                f"It takes: {', '.join(parameters) or 'nothing'}"
            )
    given: dict[str, Any] = {}
    for name, (annotation, required, default) in parameters.items():
        if name in arguments:
            given[name] = _converted(arguments[name], annotation, f"{place}.{name}", folder)
        elif required:
            raise ConfigError(f"{place}: the toolset {plugin.name!r} needs {name!r}")
        elif isinstance(default, Path):
            given[name] = _anchored(default, folder)
    return given


def _parameters(factory: Callable[..., Any]) -> dict[str, tuple[Any, bool, Any]]:
    """Name → (type, required, default). Raises ConfigError for a factory that can't be configured."""
    hints = typing.get_type_hints(factory, include_extras=True)
    found: dict[str, tuple[Any, bool, Any]] = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigError(f"its parameter {name!r} can't be given by name")
        if name in OURS:
            raise ConfigError(f"its parameter {name!r} has a name that gaia.toml uses itself ({', '.join(OURS)})")
        found[name] = (hints.get(name, Any), parameter.default is parameter.empty, parameter.default)
    return found


def _converted(value: Any, annotation: Any, place: str, folder: Path) -> Any:
    try:
        return _anchored(msgspec.convert(value, annotation, dec_hook=decode_custom), folder)
    except NotImplementedError:
        raise ConfigError(
            f"{place}: a value of the type {annotation_text(annotation)} can't be written in gaia.toml"
        ) from None
    except (TypeError, ValueError, RuntimeError, OSError) as error:  # a home that is not known, a path without end
        raise ConfigError(f"{place}: {error}") from None


def _anchored(value: Any, folder: Path) -> Any:
    """*value*, relative paths in it (also in lists, sets and tables) starting at *folder*."""
    if isinstance(value, Path):
        return (folder / value.expanduser()).resolve()
    if isinstance(value, list | set | frozenset) or type(value) is tuple:
        return type(value)(_anchored(item, folder) for item in value)
    if isinstance(value, dict):
        return {name: _anchored(item, folder) for name, item in value.items()}
    return value
