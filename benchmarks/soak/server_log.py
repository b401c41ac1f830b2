"""What the server's log says about faults of the journal: one line when each begins, one when it is over, no other."""

import re

_BEGINS = "the journal can't be written"
_ENDS = "the journal can be written again"
_LINE = re.compile(r"(WARNING|ERROR|CRITICAL):([\w.]+):(.*)")
_OF_THE_ENDPOINT = ("gaia_core.models.", "gaia_core.turn.step.", "gaia_core.turn._turn_end", "gaia_http.access")
"""Loggers of what the endpoint's faults leave, which go on all the time."""


def problems(text: str, faults: int) -> list[str]:
    """The problems of a log in which *faults* faults are expected: each unexpected line, and each missing line."""
    found, expected, said = [], _BEGINS, {_BEGINS: [], _ENDS: []}
    for line in text.splitlines():
        matched = _LINE.match(line)
        if matched is None:
            found.append(f"not a log line of the server's: {line}")
            continue
        _, logger, message = matched.groups()
        if message.startswith(expected):
            said[expected].append(line)
            expected = _ENDS if expected == _BEGINS else _BEGINS
        elif not logger.startswith(_OF_THE_ENDPOINT):
            found.append(f"a line too many: {line}")
    for words, lines in said.items():
        if len(lines) != faults:
            found.append(f"{faults} faults, and {len(lines)} lines that say: {words}")
            found += lines
    return found
