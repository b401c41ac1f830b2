"""Toolset plugins: packages that announce a factory by the entry point `gaia.toolsets`.

A factory's arguments in a configuration are checked against the factory's own signature; a broken plugin is a Problem
and harms nobody.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import msgspec

from gaia_core.catalog._catalog import CatalogProblem
from gaia_core.distribution import metadata_of
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


def find_plugins(selected: str = "") -> tuple[dict[str, Plugin], tuple[CatalogProblem, ...]]:
    """The installed plugins by name, and what is wrong with others.

    *selected* is the value of GAIA_PLUGINS: names divided by commas; empty for all. Raises ConfigError for a selected
    name that isn't installed.
    """
    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value))
    wanted = tuple(name.strip() for name in selected.split(",") if name.strip())
    known = {point.name for point in points}
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"GAIA_PLUGINS names {name!r}, which is not installed.{nearest(name, known)} "
                f"Installed: {', '.join(sorted(known)) or 'none'}"
            )
    plugins: dict[str, Plugin] = {}
    problems: list[CatalogProblem] = []
    for point in points:
        if wanted and point.name not in wanted:
            continue
        distribution = metadata_of(point, "Name")
        source = f"plugin {point.name!r} of {distribution or 'an unknown distribution'}"
        if point.name in plugins:
            other = plugins[point.name].distribution
            problems.append(
                CatalogProblem(source, f"{other} has a plugin of the same name, which is used; uninstall one")
            )
            continue
        try:
            factory = point.load()
            _parameters(factory)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a stranger's module raises on import
            problems.append(CatalogProblem(source, f"can't be loaded: {type(error).__name__}: {error}", point.name))
            continue
        plugins[point.name] = Plugin(point.name, factory, distribution, metadata_of(point, "Version"))
    return plugins, tuple(problems)


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
