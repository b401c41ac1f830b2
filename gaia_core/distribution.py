"""Distributions and what they announce by entry points: their metadata, and which one a name means.

A name that two distributions announce means neither: else a package, by being installed, could replace what another one
brings. `DISTRIBUTION#NAME` says which one is meant, as in `gaia-toolset-files#files`. Metadata may be missing: a
broken installation is no reason to fail.
"""

import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint

OF = "#"
"""Between a distribution and a name that it announces, as between a wheel and its toolset in `gaia tools diff`."""


def announcer(point: EntryPoint) -> str:
    """The distribution that announces *point*, for people."""
    return metadata_of(point, "Name") or "an unknown distribution"


def is_called(point: EntryPoint, name: str) -> bool:
    """Whether *name* means *point*: NAME, or DISTRIBUTION#NAME."""
    distribution, _, bare = name.rpartition(OF)
    return bare == point.name and (
        not distribution or _normalized(distribution) == _normalized(metadata_of(point, "Name"))
    )


def ambiguity(points: Iterable[EntryPoint]) -> tuple[str, str]:
    """Of *points* of one name: who announces it, in words, and a name that means one of them."""
    found = tuple(points)
    example = next(filter(None, (metadata_of(point, "Name") for point in found)), "DISTRIBUTION")
    return " and by ".join(map(announcer, found)), f"{example}{OF}{found[0].name}"


def _normalized(distribution: str) -> str:
    """Source: the Python packaging specifications, names and normalization."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def metadata_of(point: EntryPoint, field: str) -> str:
    """The *field*, `Name` or `Version`, of the distribution that announces *point*; "" when it doesn't say.

    Without a METADATA file `dist.name` is None, with a deprecation from Python 3.12 on, and an error from 3.15 on.
    """
    if point.dist is None:
        return ""
    try:
        metadata = point.dist.metadata
    except FileNotFoundError:  # importlib.metadata.MetadataNotFound
        return ""
    return metadata[field] if field in metadata else ""  # noqa: SIM401  # no `get` there before Python 3.12
