"""A key as it is kept: who it is, what it may do, and a digest of its secret. The secret itself is kept nowhere."""

import hmac
import secrets

import msgspec

from gaia_core import ConfigError
from gaia_core.frozen_types import check_of, refusal, shown

PREFIX = "sk-gaia-"
"""What a secret begins with, so that people and scanners of repositories know it. Clients look for `sk-`."""

_SECRET_BYTES = 32
_ID_BYTES = 6
_TAG = "h1:"
_is_names = check_of(tuple[str, ...])


class KeyLimits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """How much a key may use; None: as much as there is. Tokens are those of prompts and answers together.

    *stored_objects* and *stored_bytes*: what it may keep, see `gaia_core.catalog.StorageLimits`; None: by gaia.toml.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    running_turns: int | None = None
    stored_objects: int | None = None
    stored_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{name} must be a whole number, 1 or more, not {shown(value)}")


class Key(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A key.

    *id* owns the objects that are made with it. *name* is for people. *digest* is its secret's. *agents*: the names of
    those it may use; None: all. *admin*: it may see and change what belongs to the server, not to a caller. *approves*:
    tools (`write_file`, `sh_*`) whose calls need nobody's approval when they are made with it. *created* is in Unix
    seconds.
    """

    id: str
    name: str
    digest: str
    created: int
    agents: tuple[str, ...] | None = None
    admin: bool = False
    limits: KeyLimits = KeyLimits()
    approves: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (
            type(self.id) is type(self.name) is type(self.digest) is str
            and type(self.created) is int
            and (self.agents is None or _is_names(self.agents))
            and type(self.limits) is KeyLimits
            and _is_names(self.approves)
            and type(self.admin) is bool
        ):
            raise refusal(self)


def new_secret() -> str:
    """A new secret, of letters, digits, `-` and `_`."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def new_id() -> str:
    """A new key's id, which is no secret."""
    return "key_" + secrets.token_hex(_ID_BYTES)


def new_salt() -> str:
    """A new salt, in hex."""
    return secrets.token_hex(16)


def digest_of(salt: str, secret: bytes) -> str:
    """The tagged digest of a secret: HMAC-SHA-256 under the salt."""
    return _TAG + hmac.digest(bytes.fromhex(salt), secret, "sha256").hex()


def is_digest(text: str) -> bool:
    """Whether *text* can be a digest."""
    rest = text.removeprefix(_TAG)
    return rest != text and len(rest) == 64 and all(char in "0123456789abcdef" for char in rest)
