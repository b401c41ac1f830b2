"""The keyring: the keys of one server. A revoked key is refused from the next request on.

Fail closed: if the file can't be read any more, or is missing, every key is refused; and a server that has once
required keys keeps requiring them, even after the last one was revoked.
"""

import hmac
import logging
from pathlib import Path

import attrs

from gaia_core import ConfigError
from gaia_http.keys import _key_file as _file
from gaia_http.keys._key import Key, digest_of, new_salt

_log = logging.getLogger(__name__)

ENVIRONMENT = "GAIA_API_KEY"
"""The variable that holds one plain key, which is this machine's user's."""

_LEAST_CHARS = 16
_MOST_BYTES = 256


@attrs.frozen
class _Ring:
    """Digests under one salt, each with its key."""

    salt: str
    keys: tuple[Key, ...] = ()

    def find(self, secret: bytes) -> Key | None:
        """The key of that secret. Every digest is compared, each in constant time, whichever fits."""
        digest = digest_of(self.salt, secret)
        found = None
        for key in self.keys:
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found


class Keyring:
    """Belongs to one server: to its runtime, which counts by it, and to the applications that it opens.

    *file* is looked at when a request comes, and read anew when it changed; *asked_for*: it must be there, and a key
    is needed though it holds none. *plain*: a further key, as GAIA_API_KEY gives it. Raises ConfigError.
    """

    def __init__(self, file: Path | None = None, *, asked_for: bool = False, plain: str | None = None) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._kept = _Ring(new_salt())
        self._plain = _Ring(new_salt())
        if plain is not None:
            _check_plain(plain)
            digest = digest_of(self._plain.salt, plain.encode())
            # No id: what this machine's user has made without a key stays his.
            self._plain = _Ring(self._plain.salt, (Key("", ENVIRONMENT, digest, 0, admin=True),))
        if file is not None and asked_for and not file.is_file():
            raise ConfigError(f"there is no key file {file}; gaia keys create NAME --keys {file} makes one")
        self._required = asked_for or plain is not None
        self._refresh(strict=True)

    @property
    def required(self) -> bool:
        """Whether a request needs a key."""
        self._refresh()
        return self._required

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that open now."""
        self._refresh()
        return self._plain.keys + self._kept.keys

    def find(self, secret: bytes) -> Key | None:
        """The key whose secret this is, or None. Takes as long for one wrong secret as for another of its length."""
        self._refresh()
        if len(secret) > _MOST_BYTES:
            return None
        found, plain = self._kept.find(secret), self._plain.find(secret)
        return plain or found

    def holds(self, key: Key) -> bool:
        """Whether *key* still opens, with whatever rights it has now."""
        self._refresh()
        return any(key.id == each.id and key.digest == each.digest for each in self._plain.keys + self._kept.keys)

    def of(self, owner: str) -> Key | None:
        """The key that owns what *owner* owns."""
        return next((key for key in self._plain.keys + self._kept.keys if key.id == owner), None)

    def now(self, owner: str) -> Key | None:
        """The same, as the file says it now: it is looked at first."""
        self._refresh()
        return self.of(owner)

    def _refresh(self, *, strict: bool = False) -> None:
        """Read the file anew, if it is another than before."""
        if self._file is None:
            return
        try:
            facts = self._file.stat()
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        except OSError:
            seen = None
        if seen == self._seen:
            return
        self._seen = seen
        try:
            found = _file.read(self._file)
        except FileNotFoundError:
            _log.warning("the key file %s is gone, and with it its keys", self._file)
            self._kept = _Ring(self._kept.salt)
            return
        except ConfigError as error:
            if strict:
                raise
            _log.error("%s; until it is mended, its keys open nothing", error)
            self._kept = _Ring(self._kept.salt)
            return
        self._kept = _Ring(found.salt, found.keys)
        self._required = self._required or bool(found.keys)


def _check_plain(plain: str) -> None:
    if not plain.isascii() or not plain.isprintable() or " " in plain or not _LEAST_CHARS <= len(plain) <= _MOST_BYTES:
        raise ConfigError(
            f"{ENVIRONMENT} must be {_LEAST_CHARS} to {_MOST_BYTES} printable ASCII characters without spaces. "
            "gaia keys create makes a key that can't be guessed"
        )
