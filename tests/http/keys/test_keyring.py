"""The keyring and its file: what opens, what no longer does, and what is refused from the start."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from gaia_core import ConfigError
from gaia_http.keys import Key, Keyring
from gaia_http.keys._key import digest_of, new_secret
from gaia_http.keys._key_file import KeyFile, change, read
from gaia_http.keys._key_file_path import keyring_at

PLAIN = "a-plain-key-of-some-length"


def test_a_key_opens_and_others_do_not(room):
    mine, other = room.make("mine"), room.make("other")
    ring = room.ring()

    assert ring.find(mine.encode()).name == "mine"
    assert ring.find(other.encode()).name == "other"
    for wrong in (b"", b"x", mine[:-1].encode(), mine.encode() + b"x", mine.lower().encode(), new_secret().encode()):
        assert ring.find(wrong) is None


def test_a_secret_is_nowhere_in_the_file_nor_in_what_is_shown(room):
    secret = room.make("mine")
    ring = room.ring()

    kept = room.path.read_text() + repr(ring.keys) + repr(ring)
    assert secret not in kept
    assert secret.removeprefix("sk-gaia-") not in kept


def test_the_same_secret_has_another_digest_in_another_file(tmp_path):
    first, second = (change(tmp_path / name, lambda file: file).salt for name in ("a.json", "b.json"))

    assert digest_of(first, b"secret") != digest_of(second, b"secret")


def test_the_file_is_its_users_alone(room):
    room.make("mine")

    assert stat.S_IMODE(room.path.stat().st_mode) == 0o600


def test_a_revoked_key_opens_nothing_from_the_next_request_on(room):
    mine, other = room.make("mine"), room.make("other")
    ring = room.ring()
    key = ring.find(mine.encode())
    assert ring.holds(key)

    room.revoke("mine")

    assert ring.find(mine.encode()) is None
    assert not ring.holds(key)
    assert ring.find(other.encode()).name == "other"


def test_a_new_key_opens_from_the_next_request_on(room):
    ring = room.ring()
    assert not ring.required

    secret = room.make("mine")

    assert ring.required
    assert ring.find(secret.encode()).name == "mine"


def test_a_door_that_asked_for_keys_goes_on_asking(room):
    room.make("mine")
    ring = room.ring()

    room.revoke("mine")
    assert ring.required
    room.path.unlink()
    assert ring.required


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"salt":"00","keys":[]}', b"\xff", b"[" * 100_000])
def test_a_file_that_breaks_opens_nothing_until_it_is_mended(room, broken, caplog):
    secret = room.make("mine")
    ring = room.ring()
    good = room.path.read_bytes()

    room.path.write_bytes(broken)

    assert ring.find(secret.encode()) is None
    assert ring.required
    assert str(room.path) in caplog.text
    room.path.write_bytes(good)
    assert ring.find(secret.encode()).name == "mine"


def test_a_file_that_is_broken_at_the_start_is_an_error(room):
    room.path.write_text('{"salt": 1}')

    with pytest.raises(ConfigError, match="is not valid"):
        room.ring()


def test_unknown_fields_and_doubled_ids_are_errors(room):
    room.make("mine")
    file = read(room.path)
    twice = msgspec.structs.replace(file, keys=file.keys * 2)
    room.path.write_bytes(msgspec.json.encode(twice))
    with pytest.raises(ConfigError, match="two keys with the same id"):
        room.ring()

    room.path.write_bytes(msgspec.json.encode(file).replace(b'"created"', b'"agnts":[],"created"'))
    with pytest.raises(ConfigError, match="agnts"):
        room.ring()


@pytest.mark.parametrize(
    "key", [Key("", "x", "h1:" + "0" * 64, 0), Key("key_1", "x", "0" * 64, 0), Key("key_1", "x", "h1:00", 0)]
)
def test_a_key_without_id_or_digest_is_an_error(room, key):
    room.path.write_bytes(msgspec.json.encode(KeyFile("0" * 32, (key,))))

    with pytest.raises(ConfigError, match="has no id, or no digest"):
        room.ring()


def test_a_file_that_others_can_write_is_an_error(room):
    room.make("mine")
    room.path.chmod(0o622)

    with pytest.raises(ConfigError, match="chmod 600"):
        room.ring()


def test_a_file_that_is_asked_for_must_be_there(room):
    with pytest.raises(ConfigError, match="gaia keys create"):
        room.ring(asked_for=True)


def test_a_file_that_is_asked_for_and_empty_opens_nothing(room):
    change(room.path, lambda file: file)

    assert room.ring(asked_for=True).required


def test_many_changes_at_once_lose_none(room):
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(room.make, (f"k{n}" for n in range(24))))

    ring = room.ring()
    assert {ring.find(secret.encode()).name for secret in secrets} == {f"k{n}" for n in range(24)}


def test_the_key_of_the_environment_is_this_machines_users():
    ring = Keyring(plain=PLAIN)

    assert ring.required
    key = ring.find(PLAIN.encode())
    assert (key.id, key.name, key.admin) == ("", "GAIA_API_KEY", True)
    assert ring.find(PLAIN[:-1].encode()) is None
    assert PLAIN not in repr(ring.keys)


@pytest.mark.parametrize("plain", ["short", "with a space in its middle", "ünicode-of-some-length", "x" * 300])
def test_a_plain_key_that_is_easily_guessed_or_cannot_be_sent_is_an_error(plain):
    with pytest.raises(ConfigError, match="GAIA_API_KEY") as caught:
        Keyring(plain=plain)

    assert plain not in str(caught.value)


def test_where_keys_are(tmp_path):
    home = {"XDG_DATA_HOME": str(tmp_path)}
    assert not keyring_at(None, home).required

    change(tmp_path / "gaia" / "keys.json", lambda file: file)
    assert not keyring_at(None, home).required
    assert keyring_at(None, home | {"GAIA_API_KEY": PLAIN}).required
    assert keyring_at(None, {"GAIA_KEYS": str(tmp_path / "gaia" / "keys.json")}).required
    assert keyring_at(tmp_path / "gaia" / "keys.json", {}).required
    with pytest.raises(ConfigError, match="there is no key file"):
        keyring_at(None, {"GAIA_KEYS": str(tmp_path / "other.json")})


def test_a_file_that_is_nested_too_deep_is_an_error(room):
    room.path.write_text("[" * 129)

    with pytest.raises(ConfigError, match="is not valid: nested deeper than 128 levels"):
        room.ring()


def test_a_lock_file_that_a_killed_process_left_does_not_keep_the_file_from_being_changed(tmp_path):
    path = tmp_path / "keys.json"
    (tmp_path / ".keys.json.lock").touch()
    change(path, lambda file: file)
    assert path.exists()


def test_a_part_that_a_killed_process_of_the_same_number_left_does_not_keep_the_file_from_being_changed(tmp_path):
    """In a container every server has the number 1: none could change the keys any more."""
    path = tmp_path / "keys.json"
    path.with_name(f".{path.name}.{os.getpid()}").write_bytes(b"half a f")

    assert change(path, lambda file: file) == read(path)


def test_changes_at_the_same_time_come_one_after_the_other(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    monkeypatch.setattr("gaia_http.keys._key_file._LOCK_SECONDS", 0.01)

    def meanwhile(file):
        with pytest.raises(ConfigError, match="changed by another process"):
            change(path, lambda other: other)
        return file

    change(path, meanwhile)
