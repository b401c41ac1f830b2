"""Where the keys of a server are: what a person names, and where they are when nobody names a place."""

from collections.abc import Mapping
from pathlib import Path

from gaia_core.journal.from_url import data_folder
from gaia_http.keys._keyring import ENVIRONMENT, Keyring

FILE_ENVIRONMENT = "GAIA_KEYS"


def key_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The key file that somebody names: by an option, or by GAIA_KEYS."""
    if named is not None:
        return named
    given = environ.get(FILE_ENVIRONMENT, "")
    return Path(given).expanduser() if given else None


def keyring_at(named: Path | None, environ: Mapping[str, str]) -> Keyring:
    """The keys of that file, else of `keys.json` in the user's data folder, which need not be there; and of
    GAIA_API_KEY. Raises ConfigError."""
    file = key_file(named, environ)
    return Keyring(
        file or data_folder(environ) / "keys.json",
        asked_for=file is not None,
        plain=environ.get(ENVIRONMENT) or None,
    )
