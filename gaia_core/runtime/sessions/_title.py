"""The title of a session that nobody gave one: from its first answer (`Sessions.title_from`)."""

import re

_TITLE_CHARS = 60
_MARKUP = re.compile(r"[*_`#>]+|^\s*[-+]\s+|!?\[([^\]]*)\]\([^)]*\)")


def title_of(text: str) -> str:
    """The first line of *text* that says something, without markup, at most 60 characters."""
    for line in text.splitlines():
        plain = " ".join(_MARKUP.sub(lambda match: match[1] or "", line).split())
        if plain:
            return plain if len(plain) <= _TITLE_CHARS else f"{plain[: _TITLE_CHARS - 1].rsplit(' ', 1)[0]}…"
    return ""
