"""A toolset as other processes make it: with other hash seeds, and nothing imported that the test has."""

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from gaia_core.child_environ import PYTHON, child_environ

SEEDS = ("0", "1", "4242")
_SECONDS = 60

_PROGRAM = """
import base64, importlib, pickle, sys
module, name, arguments = pickle.loads(base64.b64decode(sys.stdin.read()))
factory = importlib.import_module(module)
for part in name.split("."):
    factory = getattr(factory, part)
toolset = factory(**arguments)
print(toolset.fingerprint)
"""


class ElsewhereError(Exception):
    """The toolset can't be made in another process: says why."""


def fingerprints(factory: Callable[..., object], arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The fingerprint in a fresh process for each of `SEEDS`. Raises ElsewhereError."""
    name = f"{factory.__module__}:{factory.__qualname__}"
    if "<locals>" in factory.__qualname__ or factory.__module__ == "__main__":
        raise ElsewhereError(f"{name} can't be imported by name; define the factory in a module of the package")
    try:
        told = base64.b64encode(pickle.dumps((factory.__module__, factory.__qualname__, dict(arguments))))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ElsewhereError(f"the arguments can't be sent to another process: {error}") from None
    return tuple(_fingerprint(name, told, seed) for seed in SEEDS)


def _fingerprint(name: str, told: bytes, seed: str) -> str:
    given = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environ = child_environ(os.environ, *PYTHON, given=given)
    try:
        ran = subprocess.run(  # noqa: S603  # this Python, our own program
            (sys.executable, "-c", _PROGRAM),
            input=told,
            env=environ,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ElsewhereError(f"{name} was not made within {_SECONDS} s in another process") from None
    if ran.returncode:
        last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ElsewhereError(f"{name} can't be made in another process: {' '.join(last)}")
    return ran.stdout.decode().strip().splitlines()[-1]
