"""`metadata`: a client's own texts beside a request, bounded."""

from gaia_http._errors import invalid
from gaia_http.request._fields import shortened

_ENTRIES = 16
_KEY_CHARS = 64
_VALUE_CHARS = 512


def check_metadata(metadata: dict[str, str] | None, path: str = "metadata") -> None:
    """Raise ApiError 400 for metadata beyond its bounds."""
    if metadata is None:
        return
    if len(metadata) > _ENTRIES:
        raise invalid(f"{path} has {len(metadata)} entries; at most {_ENTRIES} are accepted", param=path)
    for key, value in metadata.items():
        if len(key) > _KEY_CHARS or len(value) > _VALUE_CHARS:
            raise invalid(
                f"{path} entry {shortened(key, 30)!r} is too long "
                f"(key: {_KEY_CHARS} characters at most, value: {_VALUE_CHARS})",
                param=path,
            )
