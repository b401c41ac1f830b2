"""Writing a model to `gaia.toml`: one table of it changes, whatever else is in the file stays as it is."""

import os
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from gaia_core.catalog import EMBEDDED_KEYS, load_catalog
from gaia_core.errors import ConfigError

_EXCLUSIVE = ("url", "model", "embedded")


def write_model(path: Path, name: str, settings: Mapping[str, object]) -> tuple[str, ...]:
    """Set *settings* in [models.*name*] of the file *path*, which is made if it is missing; the keys that had to be
    removed. The new file is read as a configuration first. Raises ConfigError, and leaves the file as it was."""
    try:
        document = tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()
        models = document.setdefault("models", tomlkit.table(is_super_table=True))
        table = models.setdefault(name, tomlkit.table())
        embedded = "embedded" in settings
        removed = tuple(
            key
            for key in list(table)
            if key not in settings and (key in _EXCLUSIVE or (embedded and key not in EMBEDDED_KEYS))
        )
        for key in removed:
            del table[key]
        table.update(settings)
        new = path.with_name(f".{path.name}.new")
        try:
            new.write_text(tomlkit.dumps(document), encoding="utf-8")
            if path.exists():
                new.chmod(path.stat().st_mode & 0o777)
            load_catalog(new, environ=os.environ, cwd=Path.cwd(), locked=False)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except (TOMLKitError, AttributeError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be changed: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from None
    return removed
