"""The format of the final text that a client asks for: any JSON object, or JSON of one schema."""

from collections.abc import Callable

import msgspec

from gaia_core import SchemaError
from gaia_core.models import ResponseFormat
from gaia_core.turn import check_format
from gaia_http._settings import Settings
from gaia_http.request._decoding import given
from gaia_http.request._fields import check_bytes, check_name, invalid_at, not_one_of


def format_of_type(path: str, sent: str, schema: Callable[[], ResponseFormat]) -> ResponseFormat | None:
    """The format of the type *sent* at *path*; *schema* reads that of a `json_schema`. Raises ApiError 400."""
    if sent == "json_schema":
        return schema()
    if sent not in ("text", "json_object"):
        raise not_one_of(path, sent, ("text", "json_object", "json_schema"))
    return ResponseFormat("json_object") if sent == "json_object" else None


def schema_format(
    path: str, schema: msgspec.Raw, settings: Settings, *, name: str, name_path: str, strict: bool | None = None
) -> ResponseFormat:
    """JSON of the *schema* at *path*; one that was not sent allows any. *name* is what models are told.

    Raises ApiError 400 for a name that is none, and for a schema that is too large or that no text can be checked
    against.
    """
    check_name(name_path, name)
    document = bytes(schema) if given(schema) else b"{}"
    check_bytes(path, len(document), settings.max_schema_bytes)
    wanted = ResponseFormat("json_schema", document, name, strict)
    try:
        check_format(wanted)
    except SchemaError as error:
        raise invalid_at(path, str(error), "invalid_json_schema") from None
    return wanted
