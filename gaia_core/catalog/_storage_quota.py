"""The storage quota: how much an owner may keep, as gaia.toml says it. Values only; `gaia_core.runtime` counts."""

import attrs

from gaia_core.errors import ConfigError
from gaia_core.frozen_types import made_once, typed

OBJECTS = 10_000
BYTES = 1_000_000_000


def _bound(_limits: object, attribute: "attrs.Attribute[int | None]", value: int | None) -> None:
    if value is not None and value < 0:
        raise ConfigError(f"StorageLimits.{attribute.name} must be 0 or more, or None for no limit, not {value}")


@attrs.frozen(field_transformer=typed)
class StorageLimits:
    """What one owner may keep; None: as much as there is room for.

    *objects*: sessions, stored responses, conversations and stored completions together. *bytes*: of their records.
    Uploaded files are counted by themselves, and may be as many and have as many bytes again.
    """

    __attrs_pre_init__ = made_once

    objects: int | None = attrs.field(default=None, validator=_bound)
    bytes: int | None = attrs.field(default=None, validator=_bound)


UNLIMITED = StorageLimits()
LIMITED = StorageLimits(OBJECTS, BYTES)


@attrs.frozen(field_transformer=typed)
class StorageQuota:
    """`[storage]` of gaia.toml. *keys*: for each key that has no storage limits of its own; None: `LIMITED` for a key
    that is limited in some other way, nothing for any other. *local*: for this machine's user, who needs no key."""

    __attrs_pre_init__ = made_once

    keys: StorageLimits | None = None
    local: StorageLimits = UNLIMITED
