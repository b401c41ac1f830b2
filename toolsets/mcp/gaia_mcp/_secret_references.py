"""Values by reference: `env:NAME` in a configuration is the variable of that name, read when a server is connected.

The values are in no log, error or repr: `SecretMask` takes them out of what a server says.
"""

import re
from collections.abc import Iterable, Mapping

import attrs

from gaia_core import ConfigError

_REFERENCE = re.compile(r"(?P<before>(?:[A-Za-z]+ )?)env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)\Z")
_SECRET = re.compile(r"token|secret|passw|api[-_]?key|credential|authorization|cookie", re.IGNORECASE)
_SHORTEST = 6


def check(place: str, values: Mapping[str, str]) -> None:
    """Raise ConfigError for a value that stands in the file and should not."""
    for name, value in values.items():
        if _SECRET.search(name) and not _REFERENCE.match(value):
            raise ConfigError(
                f"{place}.{name}: looks like a secret; name the variable that holds it: "
                f'{name} = "env:MY_{name.upper().replace("-", "_")}"'
            )


def resolved(values: Iterable[tuple[str, str]], environ: Mapping[str, str]) -> tuple[dict[str, str], "SecretMask"]:
    """*values* with the variables' contents, and what hides those. Raises ConfigError for one that isn't set."""
    found: dict[str, str] = {}
    secrets: list[str] = []
    for name, value in values:
        if (reference := _REFERENCE.match(value)) is None:
            found[name] = value
            continue
        secret = environ.get(reference["name"])
        if not secret:
            raise ConfigError(f"{name}: the variable {reference['name']} is not set")
        secrets.append(secret)
        found[name] = reference["before"] + secret
    return found, SecretMask(tuple(secrets))


@attrs.frozen
class SecretMask:
    """Takes secrets out of texts; those under 6 characters can't be told from words."""

    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)

    def __call__(self, text: str) -> str:
        for secret in self.secrets:
            if len(secret) >= _SHORTEST:
                text = text.replace(secret, "•••")
        return text
