"""Reading: a range of a text file's lines, in a bounded amount of memory, time and output; and a file's facts.

Text is UTF-8 unless a byte order mark or the caller says otherwise; what can't be decoded shows as `�` and is counted.
A file with NUL bytes, or with many control characters, at its start is binary and isn't shown.
"""

import codecs
import datetime as dt
import itertools
import os
import re
import stat
from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from gaia_files._call_limits import CallLimits, Effort, counted, plain_size
from gaia_files._path_resolution import (
    Parts,
    PathRefused,
    folder,
    joined,
    kind_of,
    missing,
    quoted,
    refusal_of,
    regular_file,
    require_name,
    status_of,
)

Encoding: TypeAlias = Literal[
    "auto", "utf-8", "utf-16", "latin-1", "cp1252", "cp1251", "koi8-r", "gb18030", "big5", "shift_jis", "euc-kr"
]
"""Encodings that can be asked for; a closed set, because some of Python's codecs take quadratic time."""

_CHUNK = 64 * 1024
_SNIFFED = 8 * 1024
_CONTROL_SHARE = 0.1
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = (
    (b"\x89PNG", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"%PDF", "PDF document"),
    (b"PK\x03\x04", "ZIP archive or Office document"),
    (b"\x1f\x8b", "gzip archive"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"SQLite format 3", "SQLite database"),
    (b"OggS", "Ogg audio"),
    (b"ID3", "MP3 audio"),
    (b"RIFF", "RIFF audio, video or image"),
)
_CONTROLS = bytes(code for code in range(32) if chr(code) not in "\t\n\r\f\b\x1b")
_UNDECODED = re.compile("[\x00\ufffd\ud800-\udfff]")
_COUNTED_ENTRIES = 100_000
_NOTE_CHARS = 100
"""Room for the count of what is left of a line."""


@attrs.define
class _LineCollector:
    """Collects the lines *first* to *last* of a stream of text; holds no more than is shown."""

    first: int
    last: int
    chars: int
    line_chars: int
    skipped: int = 0
    """Characters that are left out at the beginning of each line that is shown."""
    shown: list[str] = attrs.field(factory=list)
    ended: int = 0
    undecoded: int = 0
    cut: int = 0
    cut_line: int = 0
    """The first of the lines that were cut."""
    shown_length: int = 0
    """Characters of the last line that was shown."""
    full: bool = False
    _kept: list[str] = attrs.field(factory=list)
    _length: int = 0

    @property
    def total(self) -> int:
        """Lines so far; a last one without a line break counts."""
        return self.ended + (1 if self._length else 0)

    def feed(self, text: str) -> None:
        breaks = text.count("\n")
        if self.full or self.ended + breaks + 1 < self.first:
            self.ended += breaks
            last = text.rpartition("\n")[2] if breaks else text
            self._length = len(last) if breaks else self._length + len(last)
            return
        *whole, rest = text.split("\n")
        for piece in whole:
            self._take(piece)
            self._end()
        self._take(rest)

    def finish(self) -> None:
        """End a last line that has no line break."""
        if self._length:
            self._end()

    def _take(self, piece: str) -> None:
        room = self.skipped + self.line_chars - self._length
        if piece and self._wanted() and room > 0:
            self._kept.append(piece[max(0, self.skipped - self._length) : room])
        self._length += len(piece)

    def _end(self) -> None:
        if self._wanted():
            self._show()
        self.ended += 1
        self._length = 0
        self._kept.clear()
        self.full = self.full or self.ended >= self.last

    def _show(self) -> None:
        line = "".join(self._kept)
        over = max(0, self._length - self.skipped - len(line))
        self.shown_length = self._length
        line, undecoded = _UNDECODED.subn("\ufffd", line.removesuffix("\r"))
        if over:
            line += f"… (+{over:,} characters)"
        if self.shown and len(line) + 1 > self.chars:
            self.full = True
            return
        self.undecoded += undecoded
        if over:
            self.cut += 1
            self.cut_line = self.cut_line or self.ended + 1
        self.chars -= len(line) + 1
        self.shown.append(line)

    def _wanted(self) -> bool:
        return not self.full and self.first <= self.ended + 1 <= self.last


def read_lines(
    root: int, parts: Parts, first: int, count: int, encoding: Encoding, effort: Effort, *, column: int = 1
) -> str:
    """The lines *first* to *first* + *count* - 1, counted from 1, then notes in brackets.

    With a *column* above 1 (in characters): the line *first* from there on, up to a page of it.
    """
    if first < 1 or count < 1 or column < 1:
        raise PathRefused("line-range", "Lines are counted from 1, and at least one line is read.", "Use start_line=1.")
    limits = effort.limits
    if column == 1:
        lines = _LineCollector(first, first + count - 1, limits.chars, limits.line_chars)
    else:
        lines = _LineCollector(first, first, limits.chars, limits.chars - _NOTE_CHARS, column - 1)
    require_name(parts)
    with folder(root, parts[:-1]) as parent, regular_file(parent, parts) as (descriptor, status):
        name, start = _sniffed(descriptor, parts, status, encoding)
        decoder = codecs.getincrementaldecoder(name)("surrogateescape" if name.startswith("utf-8") else "replace")
        complete = False
        for chunk in _chunks(descriptor, start, limits.read_bytes):
            lines.feed(decoder.decode(chunk, final=not chunk))
            complete = not chunk
            if not effort.in_time():
                break
    if complete:
        lines.finish()
    return _page(lines, parts, complete=complete, effort=effort)


def read_whole(parent: int, parts: Parts, most: int) -> tuple[bytes, os.stat_result]:
    """All bytes of the file in the folder *parent*, at most *most* of them, and its status."""
    with regular_file(parent, parts) as (descriptor, status):
        chunks, size = [], 0
        while chunk := os.read(descriptor, _CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                raise PathRefused(
                    "too-large",
                    f"{quoted(joined(parts))} is larger than {plain_size(most)}.",
                    "Read a range of its lines instead.",
                )
        return b"".join(chunks), status


def is_binary(start: bytes) -> bool:
    """Whether the *start* of a file without a byte order mark looks like something other than text."""
    head = start[:_SNIFFED]
    return b"\0" in head or len(head) - len(head.translate(None, _CONTROLS)) > len(head) * _CONTROL_SHARE


def marked_encoding(start: bytes) -> str | None:
    """The encoding that a byte order mark at the *start* names."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)


def describe(root: int, parts: Parts, limits: CallLimits) -> str:
    """What a path is: kind, size, time of change, and for text its encoding, lines and line ends."""
    if not parts:
        return _folder_facts(root, parts, os.fstat(root))
    with folder(root, parts[:-1]) as parent:
        try:
            status = status_of(parent, parts[-1])
        except OSError as error:
            raise refusal_of(error, parts) from None
        if status is None:
            raise missing(parent, parts)
        kind = kind_of(status.st_mode)
        if kind == "file":
            return _file_facts(parent, parts, limits)
    if kind == "folder":
        return _folder_facts(root, parts, status)
    also = "not followed" if kind == "link" else "can't be read or written"
    return _facts(("path", joined(parts)), ("kind", f"{kind} ({also})"), ("changed", _time(status)))


def _page(lines: _LineCollector, parts: Parts, *, complete: bool, effort: Effort) -> str:
    after = lines.first + len(lines.shown)
    if not lines.shown:
        return _no_lines(lines, parts, complete=complete, effort=effort)
    if lines.skipped and lines.skipped >= lines.shown_length:
        raise PathRefused(
            "column-range",
            f"Line {lines.first:,} of {quoted(joined(parts))} has {counted(lines.shown_length, 'character')}.",
            "Use a start_column within it.",
        )
    notes = []
    if lines.cut:
        column = lines.skipped + lines.line_chars + 1
        rest = f"the rest of line {lines.cut_line}: start_line={lines.cut_line}, start_column={column}"
        notes.append(f"{counted(lines.cut, 'line')} cut at {lines.line_chars:,} characters; {rest}")
    if complete and after <= lines.total:
        notes.append(f"… {counted(lines.total - after + 1, 'more line')}; continue with start_line={after}")
    elif not complete:
        notes.append(f"… more lines, not counted; continue with start_line={after}")
    if lines.undecoded:
        characters = counted(lines.undecoded, "character")
        notes.append(f"{characters} not decoded, shown as \ufffd; another encoding may fit, such as latin-1")
    return "\n".join([*lines.shown, *(f"[{note}]" for note in notes)])


def _no_lines(lines: _LineCollector, parts: Parts, *, complete: bool, effort: Effort) -> str:
    path = quoted(joined(parts))
    if not complete:
        why = effort.stopped or f"only the first {plain_size(effort.limits.read_bytes)} can be read"
        raise PathRefused("too-large", f"Line {lines.first:,} of {path} was not reached: {why}.", "Search it instead.")
    if not lines.total:
        return "[The file is empty]"
    raise PathRefused(
        "line-range",
        f"{path} has {counted(lines.total, 'line')}; start_line={lines.first} is after its end.",
        f"Use a start_line from 1 to {lines.total}.",
    )


def _sniffed(descriptor: int, parts: Parts, status: os.stat_result, encoding: Encoding) -> tuple[str, bytes]:
    """The codec's name and the bytes that were read to find it."""
    start = os.read(descriptor, _SNIFFED)
    marked = marked_encoding(start)
    if marked is not None:
        return marked, start
    if encoding == "utf-16":
        return "utf-16-le", start
    if is_binary(start):
        raise PathRefused(
            "binary",
            f"{quoted(joined(parts))} is not text but {_binary_kind(start)} ({plain_size(status.st_size)}).",
            "Only text files can be read.",
        )
    return ("utf-8" if encoding == "auto" else encoding), start


def _chunks(descriptor: int, start: bytes, most: int) -> Iterator[bytes]:
    """*start*, the rest of the file, and an empty chunk at its end; nothing after *most* bytes."""
    if start:
        yield start
    size = len(start)
    while size < most:
        chunk = os.read(descriptor, min(_CHUNK, most - size))
        yield chunk
        if not chunk:
            return
        size += len(chunk)


def _binary_kind(start: bytes) -> str:
    return next((f"a {kind}" for magic, kind in _MAGIC if start.startswith(magic)), "binary data")


def _folder_facts(root: int, parts: Parts, status: os.stat_result) -> str:
    with folder(root, parts) as descriptor, os.scandir(descriptor) as entries:
        number = sum(1 for _ in itertools.islice(entries, _COUNTED_ENTRIES))
    held = counted(number, "entry", "entries") + (" or more" if number == _COUNTED_ENTRIES else "")
    return _facts(("path", joined(parts)), ("kind", "folder"), ("holds", held), ("changed", _time(status)))


def _file_facts(parent: int, parts: Parts, limits: CallLimits) -> str:
    with regular_file(parent, parts) as (descriptor, status):
        facts = [("path", joined(parts)), ("kind", "file"), ("size", f"{status.st_size:,} bytes")]
        facts.append(("changed", _time(status)))
        if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            facts.append(("access", "read only"))
        if status.st_nlink > 1:
            facts.append(("hard links", str(status.st_nlink)))
        facts += _content_facts(descriptor, limits)
    return _facts(*facts)


def _content_facts(descriptor: int, limits: CallLimits) -> list[tuple[str, str]]:
    start = os.read(descriptor, _SNIFFED)
    marked = marked_encoding(start)
    if marked is None and is_binary(start):
        return [("content", _binary_kind(start))]
    decoder = codecs.getincrementaldecoder(marked or "utf-8")("strict")
    breaks, windows, last, size = 0, 0, "", 0
    for chunk in _chunks(descriptor, start, limits.search_file_bytes):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError:
            return [("content", f"text, but not valid {marked or 'UTF-8'}")]
        size += len(chunk)
        breaks += text.count("\n")
        windows += (last[-1:] + text).count("\r\n")
        last = text or last
    whole = size < limits.search_file_bytes
    number = breaks + (1 if last and not last.endswith("\n") else 0)
    ends = [("line ends", "CRLF" if windows == breaks else "mixed")] if windows else []
    return [("content", f"text, {marked or 'utf-8'}"), ("lines", f"{number:,}" if whole else "not counted"), *ends]


def _facts(*facts: tuple[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in facts)


def _time(status: os.stat_result) -> str:
    try:
        moment = dt.datetime.fromtimestamp(int(status.st_mtime), dt.UTC)
    except (OverflowError, ValueError, OSError):
        return "unknown"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
