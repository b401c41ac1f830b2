"""Words that make a reader stumble are kept out of documentation, help, errors, docstrings and comments.

Each entry has a reason and says what to write instead (see CONTRIBUTING.md, "Plain English"). The list holds what was
found in this repository, so that it does not come back; it is no judge of style.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

AVOIDED = (
    (r"\bthey part\b", "says neither who nor what: write 'at the first difference'"),
    (r"\bis a no\b", "write 'counts as denied' or 'is refused'"),
    (r"\b(is|are|was) told (?!apart)", "who says it, and how: write 'receives', 'is sent', 'logs', 'returns'"),
    (r"\bgoes on\b", "write 'continues'"),
    (r"\bgone on with\b", "write 'continued'"),
    (r"\b[Ww]hoever\b", "name the reader: client, caller, operator, task"),
    (r"\btakes? \w+( \w+)? with (it|them)\b", "write what is cancelled or closed"),
    (r"\bhas not the\b", "write 'doesn't have' or 'doesn't match'"),
    (r"\bin spite of\b", "write 'although' or 'despite'"),
    (r"\bso many\b", "write the number or 'this many'"),
    (r"\bis none of\b", "write 'is not one of'"),
    (
        r"\bnobody (says|asks|waits|knows)\b",
        "write what happens: 'times out', 'is unknown', 'without a waiting client'",
    ),
    (r"\bcomes to nothing\b", "write 'has no effect'"),
    (r"\bopens nothing\b", "write 'stops working'"),
)

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "toolsets/README.md")
FOLDERS = ("docs", "gaia_core", "http/gaia_http", "toolsets")


def texts() -> Iterator[Path]:
    for name in DOCUMENTS:
        yield ROOT / name
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md", ".template"):
                yield path


def stumbles(text: str) -> Iterator[tuple[int, str, str]]:
    """The line, the words and the advice of each avoided phrase."""
    for pattern, advice in AVOIDED:
        for found in re.finditer(pattern, text):
            yield text.count("\n", 0, found.start()) + 1, found[0], advice


def test_no_text_has_words_that_make_a_reader_stumble():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {words!r}: {advice}"
        for path in texts()
        for line, words, advice in sorted(stumbles(path.read_text(encoding="utf-8")))
    ]

    assert not found, "\n".join(found)


def test_a_planted_sentence_is_found():
    planted = "# exit code 1: they part\n# An approval that nobody answers in time is a no.\n"

    assert [(line, words) for line, words, _ in stumbles(planted)] == [(1, "they part"), (2, "is a no")]
