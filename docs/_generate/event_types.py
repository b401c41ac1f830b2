"""The events of a turn: their order from the module's text, each one's fields from its type."""

import inspect
from typing import get_args

import msgspec

from docs._generate.python_api import words_of
from gaia_core import events


def page() -> str:
    """The order of events, then a section for each."""
    text = [inspect.cleandoc(events.__doc__ or ""), ""]
    for kind in (*get_args(events.Event), events.ErrorInfo):
        text += [
            f"## {kind.__name__}",
            "",
            inspect.getdoc(kind) or "",
            "",
            "| field | type | default |",
            "|---|---|---|",
        ]
        for field in msgspec.structs.fields(kind):
            default = "" if field.required else f"`{field.default!r}`"
            text.append(
                f"| `{field.name}` | `{words_of(field.type)}` | {default} |".replace(" | `str | ", " | `str \\| ")
            )
        text.append("")
    return "\n".join(text)
