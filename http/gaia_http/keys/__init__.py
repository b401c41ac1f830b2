"""Keys: who may enter, and what for.

| module | what lives there |
|---|---|
| `_key` | `Key`: a key as it is kept, and how its secret is made and digested |
| `_key_file` | the key file |
| `_key_file_path` | where a server's keys are |
| `_keyring` | `Keyring`: the keys of one server, read anew when their file changes |
| `_key_limits` | how much of its limits each key has used |
| `cli` | `gaia keys` |

A secret is 256 random bits, so a digest of it can't be undone by guessing, however fast it is: a slow password hash
(scrypt, argon2) would buy nothing, and cost each request its 50 ms. What a thief of the key file has is useless.
"""

from gaia_http.keys._key import Key, KeyLimits
from gaia_http.keys._key_file_path import keyring_at
from gaia_http.keys._key_limits import Allowances
from gaia_http.keys._keyring import Keyring

__all__ = ["Allowances", "Key", "KeyLimits", "Keyring", "keyring_at"]
