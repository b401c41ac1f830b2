"""Keys for tests: a file, keys in it, and headers that bring them."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gaia_http.keys import Key, Keyring
from gaia_http.keys._key import digest_of, new_id, new_secret
from gaia_http.keys._key_file import change


class KeyRoom:
    """A key file, and what is needed to enter."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, name: str, **rights: object) -> str:
        """The secret of a new key."""
        secret, key_id = new_secret(), new_id()

        def add(file):
            key = Key(key_id, name, digest_of(file.salt, secret.encode()), 0, **rights)
            return msgspec.structs.replace(file, keys=(*file.keys, key))

        change(self.path, add)
        return secret

    def id_of(self, name: str) -> str:
        return next(key.id for key in self.ring().keys if key.name == name)

    def revoke(self, name: str) -> None:
        change(
            self.path,
            lambda file: msgspec.structs.replace(file, keys=tuple(key for key in file.keys if key.name != name)),
        )

    def ring(self, **options: object) -> Keyring:
        return Keyring(self.path, **options)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def room(tmp_path) -> KeyRoom:
    return KeyRoom(tmp_path / "keys.json")


@pytest.fixture(name="bearer")
def bearer_() -> Callable[[str], dict[str, str]]:
    return bearer
