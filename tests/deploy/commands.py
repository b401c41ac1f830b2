"""The start command of each deploy file, with its environment, as the file has it. PyYAML, and nothing of this project:
tests/machines/deploy.py reads the files on a bare machine."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile as (name, text), continued lines joined."""
    lines = [line for line in _dockerfile().read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, text.strip()) for name, _, text in (line.partition(" ") for line in joined.splitlines()) if text]


def _dockerfile() -> Path:
    return DEPLOY / "container" / "Dockerfile"


def dockerfile() -> dict[str, str]:
    """The instructions of the Dockerfile's last stage; of several with one name, the last."""
    return dict(instructions())


def variables(text: str) -> dict[str, str]:
    """The NAME=VALUE of an ENV or ARG instruction, or of an Environment= of a unit."""
    return dict(word.split("=", 1) for word in shlex.split(text))


def let_in() -> list[str]:
    """The patterns of what the image is built from."""
    lines = _dockerfile().with_name("Dockerfile.dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


def unit() -> dict[str, list[str]]:
    """The settings of the systemd unit."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / "gaia.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def compose() -> dict:
    """The service `gaia` of the compose file."""
    return yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]["gaia"]


def compose_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of that service; *given* stands for the file `.env`."""
    environ = {}
    for name, value in compose()["environment"].items():
        variable = re.fullmatch(r"\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]*)?\}", value)
        environ[name] = given.get(variable[1], variable[2]) if variable else value
    return environ


def pod() -> dict:
    """The specification of the Kubernetes deployment's pods."""
    return yaml.safe_load((DEPLOY / "kubernetes" / "deployment.yaml").read_text())["spec"]["template"]["spec"]


def proxied(name: str) -> list[str]:
    """The `gaia serve` in the comment of a proxy's file."""
    found = re.search(r"^#\s+(gaia serve .*?)(?:\s{2,}|$)", (DEPLOY / Path(name)).read_text(), re.MULTILINE)
    return shlex.split(found[1])
