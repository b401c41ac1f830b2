"""`gaia keys`: make, list, renew and revoke the keys of a server. A running server follows at once."""

import os
import sys
import time
from pathlib import Path

import click
import msgspec

from gaia_core import ConfigError
from gaia_core.cli.terminal._echo import echo
from gaia_core.cli.terminal._table import json_option, print_table
from gaia_core.journal.from_url import data_folder
from gaia_core.runtime import iso
from gaia_http.keys._key import Key, KeyLimits, digest_of, new_id, new_secret
from gaia_http.keys._key_file import KeyFile, change, read
from gaia_http.keys._key_file_path import FILE_ENVIRONMENT, key_file

_COLUMNS = ("id", "name", "created", "agents", "admin", "approves", "limits")
_NAME_CHARS = 64

_file_option = click.option(
    "--keys",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The key file. Default: {FILE_ENVIRONMENT}, or keys.json in the user's data folder.",
)
_key_argument = click.argument("key", metavar="ID_OR_NAME")


@click.group()
def keys() -> None:
    """Manage the server's API keys. Without any key, the server accepts only this machine, and requires none."""


@keys.command()
@click.argument("name")
@click.option(
    "--agent", "-a", "agents", multiple=True, help="An agent that the key may use (repeatable). Default: all."
)
@click.option("--admin", is_flag=True, help="Allow the server's own routes: metrics, settings.")
@click.option(
    "--approve",
    "approves",
    multiple=True,
    metavar="TOOL",
    help="A tool, or a pattern such as sh_*, whose calls need no approval with this key (repeatable). Default: none.",
)
@click.option(
    "--requests-per-minute",
    type=click.IntRange(1),
    help="Limit of requests that use a model or leave something (a session, a file). Default: none.",
)
@click.option("--tokens-per-minute", type=click.IntRange(1), help="Limit of prompt and answer tokens. Default: none.")
@click.option("--running-turns", type=click.IntRange(1), help="Limit of concurrent turns. Default: no limit.")
@click.option(
    "--stored-objects",
    type=click.IntRange(1),
    help="Limit of kept sessions, stored responses, conversations and completions together, and of uploaded files. "
    "Default: [storage.keys] of gaia.toml; else 10000 for a key with another limit, none for any other.",
)
@click.option(
    "--stored-bytes",
    type=click.IntRange(1),
    help="Limit of their bytes, and of those of uploaded files. Default: as for objects; else 1000000000.",
)
@_file_option
def create(
    name: str,
    agents: tuple[str, ...],
    admin: bool,
    approves: tuple[str, ...],
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    running_turns: int | None,
    stored_objects: int | None,
    stored_bytes: int | None,
    file: Path | None,
) -> None:
    """Create a key called NAME, and print it. It is shown only once: the server stores its hash alone."""
    name = name.strip()
    if not 1 <= len(name) <= _NAME_CHARS or not name.isprintable():
        raise click.UsageError(f"NAME must be 1 to {_NAME_CHARS} printable characters, not {name[:80]!r}")
    secret, key_id = new_secret(), new_id()

    def with_key(before: KeyFile) -> KeyFile:
        if any(key.name == name for key in before.keys):
            raise ConfigError(f"there is a key {name!r} already; choose another name, or run: gaia keys renew {name}")
        key = Key(
            key_id,
            name,
            digest_of(before.salt, secret.encode()),
            int(time.time()),
            tuple(sorted(set(agents))) or None,
            admin,
            KeyLimits(requests_per_minute, tokens_per_minute, running_turns, stored_objects, stored_bytes),
            tuple(sorted(set(approves))),
        )
        return msgspec.structs.replace(before, keys=(*before.keys, key))

    path = _path(file)
    change(path, with_key)
    _show(secret, f"key {name!r} ({key_id}) is in {path}; it is shown only now:")


@keys.command("list")
@_file_option
@json_option
def list_(file: Path | None, as_json: bool) -> None:
    """List the keys, without their secrets, which are not stored."""
    path = _path(file)
    try:
        found = read(path).keys
    except FileNotFoundError:
        found = ()
    if not found and sys.stdout.isatty() and not as_json:
        echo(f"There are no keys in {path}. Create one with: gaia keys create NAME")
        return
    print_table(_COLUMNS, [_row(key) for key in found], whole=_COLUMNS[:3], as_json=as_json)


@keys.command()
@_key_argument
@_file_option
def revoke(key: str, file: Path | None) -> None:
    """Revoke a key; it stops working immediately. Its sessions stay in the journal, but no key can access them."""
    path = _path(file)
    found = _found(path, key)
    change(path, lambda before: msgspec.structs.replace(before, keys=_without(before, found)))
    echo(f"key {found.name!r} ({found.id}) is revoked")


@keys.command()
@_key_argument
@_file_option
def renew(key: str, file: Path | None) -> None:
    """Replace a key's secret, and print the new one. The old one stops working; id, rights and sessions stay."""
    path = _path(file)
    found, secret = _found(path, key), new_secret()

    def renewed(before: KeyFile) -> KeyFile:
        digest = digest_of(before.salt, secret.encode())
        fresh = (msgspec.structs.replace(each, digest=digest) if each.id == found.id else each for each in before.keys)
        return msgspec.structs.replace(before, keys=tuple(fresh))

    change(path, renewed)
    _show(secret, f"key {found.name!r} ({found.id}) has a new secret; it is shown only now:")


def _path(file: Path | None) -> Path:
    return key_file(file, os.environ) or data_folder(os.environ) / "keys.json"


def _show(secret: str, words: str) -> None:
    """Print *words* to stderr and only the secret to stdout, so that a program can read it."""
    echo(words, err=True)
    echo(secret)


def _found(path: Path, wanted: str) -> Key:
    try:
        found = read(path).keys
    except FileNotFoundError:
        found = ()
    for key in found:
        if wanted in (key.id, key.name):
            return key
    raise ConfigError(f"there is no key {wanted!r} in {path}; gaia keys list shows them")


def _without(file: KeyFile, gone: Key) -> tuple[Key, ...]:
    return tuple(key for key in file.keys if key.id != gone.id)


def _row(key: Key) -> tuple[str, ...]:
    limits = msgspec.to_builtins(key.limits)
    return (
        key.id,
        key.name,
        iso(key.created),
        ", ".join(key.agents) if key.agents is not None else "all",
        "yes" if key.admin else "no",
        ", ".join(key.approves) or "none",
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in limits.items()) or "none",
    )
