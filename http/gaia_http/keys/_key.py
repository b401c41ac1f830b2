"""A key as it is kept: who it is, what it may do, and a digest of its secret. The secret itself is kept nowhere."""

import hmac
import secrets

import msgspec

PREFIX = "sk-gaia-"
"""What a secret begins with, so that people and scanners of repositories know it. Clients look for `sk-`."""

_SECRET_BYTES = 32
_ID_BYTES = 6
_TAG = "h1:"


class KeyLimits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """How much a key may use; None: as much as there is. Tokens are those of prompts and answers together."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    running_turns: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")


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
