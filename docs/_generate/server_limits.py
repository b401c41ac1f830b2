"""The bounds of a server: the fields of `gaia_http.Settings` that are numbers, with what its docstring says."""

import re

import attrs

from gaia_http import Settings

_ROW = re.compile(r"^\s*\| ([\w, ]+) \| ([^|]*)\| ([^|]*)\|$", re.MULTILINE)


def page() -> str:
    """A table: field, default, unit, meaning."""
    rows = [
        (names.split(", "), unit.strip(), words.strip()) for names, unit, words in _ROW.findall(Settings.__doc__ or "")
    ]
    text = ["| setting | default | unit | meaning |", "|---|---|---|---|"]
    for field in attrs.fields(Settings):
        if type(field.default) in (int, float) and field.name != "port":
            unit, words = next((unit, words) for names, unit, words in rows if field.name in names)
            text.append(f"| `{field.name}` | {field.default:,} | {unit} | {words} |")
    return "\n".join(text)
