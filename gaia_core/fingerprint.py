"""Fingerprints: a kind and the SHA-256 of a canonical form, equal in every process and on every machine.

| kind | of | the form is made in |
|---|---|---|
| `t1` | a toolset: the definitions and instructions for a model | `Toolset.fingerprint` |
| `a1` | an agent: its whole configuration | `Agent.fingerprint`, by `gaia_core.canonical` |
| `s1` | an agent's system text | `Agent.system_hash` |
| `d1` | a tool's definition, as `gaia.lock` pins it | `catalog._lock_file` |
| `b1` | the body of a request with an idempotency key | `gaia_http.door._idempotency` |

The number changes with the form, so that an old fingerprint shows as old, and not as a difference.
"""

import hashlib
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["t1", "a1", "s1", "d1", "b1"]


def fingerprint_of(kind: Kind, form: bytes) -> str:
    """The fingerprint of what has the canonical *form*: `t1:` and 64 hexadecimal digits."""
    return f"{kind}:{hashlib.sha256(form).hexdigest()}"
