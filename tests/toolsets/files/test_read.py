"""Reading: ranges of lines, encodings, binary files, large files, and honest notes."""

import os

import pytest

from gaia_files import Workspace


def numbered(count: int) -> str:
    return "".join(f"line {number}\n" for number in range(1, count + 1))


def test_a_short_file_is_shown_as_it_is(workspace, fill):
    fill({"a.txt": "one\ntwo\n", "b.txt": "no line break at the end"})
    assert workspace.read("a.txt") == "one\ntwo"
    assert workspace.read("b.txt") == "no line break at the end"


def test_an_empty_file_says_so(workspace, fill):
    fill({"a.txt": ""})
    assert workspace.read("a.txt") == "[The file is empty]"


def test_a_range_says_how_to_continue(workspace, fill):
    fill({"a.txt": numbered(320)})
    first = workspace.read("a.txt", 1, 200)
    assert first.startswith("line 1\n")
    assert first.endswith("line 200\n[… 120 more lines; continue with start_line=201]")
    assert workspace.read("a.txt", 201).splitlines()[0] == "line 201"
    assert workspace.read("a.txt", 320) == "line 320"
    assert workspace.read("a.txt", 319, 1) == "line 319\n[… 1 more line; continue with start_line=320]"


@pytest.mark.parametrize("ending", ["", "\n"])
def test_pages_put_together_are_the_file(workspace, fill, ending):
    text = "\n".join(f"{number} {'x' * (number % 90)}" for number in range(5_000)) + ending
    fill({"a.txt": text})
    pages, start = [], 1
    while start:
        page = workspace.read("a.txt", start, 700)
        lines = page.split("\n")
        more = lines[-1].startswith("[… ")
        start = int(lines.pop().rstrip("]").rpartition("=")[2]) if more else 0
        pages += lines
    assert pages == text.rstrip("\n").split("\n")


def test_a_start_after_the_end_is_refused_with_the_number_of_lines(workspace, fill, refused):
    fill({"a.txt": numbered(3)})
    assert "has 3 lines" in refused("line-range", workspace.read, "a.txt", 4)
    refused("line-range", workspace.read, "a.txt", 0)
    refused("line-range", workspace.read, "a.txt", 1, 0)


def test_output_is_bounded_and_continues_where_it_stopped(limited, fill):
    fill({"a.txt": numbered(100)})
    text = limited(chars=60).read("a.txt")
    assert text.endswith("line 8\n[… 92 more lines; continue with start_line=9]")


def test_a_long_line_is_cut_and_says_by_how_much(limited, fill):
    fill({"a.txt": "x" * 100_000 + "\nshort\n"})
    cut = "[1 line cut at 10 characters; the rest of line 1: start_line=1, start_column=11]"
    shown = limited(line_chars=10).read("a.txt").split("\n")
    assert shown == ["x" * 10 + "… (+99,990 characters)", "short", cut]


def test_a_huge_file_is_read_up_to_a_limit(limited, root, refused):
    with open(root / "huge.txt", "wb") as file:
        file.write(b"first\n")
        file.seek(1 << 40)
        file.write(b"last\n")
    workspace = limited(read_bytes=1 << 20)
    assert "not text" in refused("binary", workspace.read, "huge.txt")  # the hole reads as NUL bytes
    with open(root / "long.txt", "wb") as file:
        file.write(b"text\n" * 4_000)
        file.seek(1 << 40)
        file.write(b"last\n")
    assert workspace.read("long.txt", 1, 2).endswith("[… more lines, not counted; continue with start_line=3]")
    assert "only the first 1 MiB" in refused("too-large", workspace.read, "long.txt", 4_100)


def test_reading_stops_when_the_call_is_cancelled(workspace, fill, refused):
    fill({"a.txt": numbered(100_000)})
    text = workspace.read("a.txt", 1, 1, cancelled=lambda: True)
    assert text == "line 1\n[… more lines, not counted; continue with start_line=2]"
    assert "cancelled" in refused("too-large", workspace.read, "a.txt", 90_000, cancelled=lambda: True)


def test_reading_stops_when_its_time_is_over(limited, fill):
    fill({"a.txt": numbered(100_000)})
    assert "not counted" in limited(seconds=0).read("a.txt", 1, 1)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("größe\n".encode(), "auto"),
        ("größe\n".encode("utf-8-sig"), "auto"),
        ("größe\n".encode("utf-16"), "auto"),
        (b"\xfe\xff" + "größe\n".encode("utf-16-be"), "auto"),
        ("größe\n".encode("utf-32"), "auto"),
        ("größe\n".encode("utf-16-le"), "utf-16"),
        ("größe\n".encode("latin-1"), "latin-1"),
        ("größe\r\n".encode("cp1252"), "cp1252"),
    ],
)
def test_encodings_are_found_or_given(workspace, fill, data, encoding):
    fill({"a.txt": data})
    assert workspace.read("a.txt", encoding=encoding) == "größe"


def test_a_character_split_between_two_reads_is_whole(workspace, fill):
    for shift in range(4):
        text = "a" * shift + "😀" * 40_000
        fill({"a.txt": "\n".join(text[at : at + 1_000] for at in range(0, len(text), 1_000))})
        assert "\ufffd" not in workspace.read("a.txt", 1, 10_000)


def test_undecodable_bytes_are_shown_and_counted(workspace, fill):
    fill({"a.txt": b"gr\xf6\xdfe\nok\n"})
    assert workspace.read("a.txt") == (
        "gr\ufffd\ufffde\nok\n[2 characters not decoded, shown as \ufffd; another encoding may fit, such as latin-1]"
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        (b"%PDF-1.7\n\0", "a PDF document"),
        (b"\x00\x01\x02", "binary data"),
        (bytes(range(1, 9)) * 20, "binary data"),
    ],
)
def test_binary_files_are_named_and_not_shown(workspace, fill, refused, data, kind):
    fill({"a.bin": data})
    assert f"is not text but {kind}" in refused("binary", workspace.read, "a.bin")
    assert f"content: {kind}" in workspace.info("a.bin")


def test_terminal_colours_are_text(workspace, fill):
    fill({"a.log": "\x1b[31mred\x1b[0m\n"})
    assert workspace.read("a.log") == "\x1b[31mred\x1b[0m"


def test_a_missing_file_names_its_likes(workspace, fill, refused):
    fill({"docs/README.md": "x"})
    assert "Did you mean 'docs/README.md'?" in refused("not-found", workspace.read, "docs/REDME.md")
    assert "List 'docs' to see" in refused("not-found", workspace.read, "docs/other")
    assert "forward slashes" in refused("not-found", workspace.read, "sources\\other")


def test_refusals_stay_short_and_on_one_line(workspace, refused):
    text = refused("not-found", workspace.read, "a\n" * 100)
    assert "\n" not in text
    assert len(text) < 800


def test_a_folder_is_described(workspace, fill):
    fill({"d/a.txt": "x", "d/b.txt": "y"})
    assert workspace.info("d").startswith("path: d\nkind: folder\nholds: 2 entries\nchanged: ")
    assert workspace.info().startswith("path: .\nkind: folder\nholds: 1 entry\n")


def test_a_file_is_described(workspace, root, fill):
    fill({"a.txt": "one\r\ntwo"})
    os.utime(root / "a.txt", (0, 0))
    os.chmod(root / "a.txt", 0o444)
    assert workspace.info("a.txt") == (
        "path: a.txt\nkind: file\nsize: 8 bytes\nchanged: 1970-01-01 00:00:00 UTC\naccess: read only\n"
        "content: text, utf-8\nlines: 2\nline ends: CRLF"
    )


def test_undecodable_text_is_described(workspace, fill):
    fill({"a.txt": b"gr\xf6\xdfe\n"})
    assert workspace.info("a.txt").endswith("content: text, but not valid UTF-8")


def test_a_large_file_is_described_without_counting_its_lines(limited, fill):
    fill({"a.txt": numbered(10_000)})
    workspace: Workspace = limited(search_file_bytes=1_000)
    assert workspace.info("a.txt").endswith("content: text, utf-8\nlines: not counted")


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_a_long_line_is_read_to_its_end_by_columns(limited, fill, ending):
    line = "".join(chr(0x4E00 + number % 5_000) for number in range(3_000))
    fill({"a.txt": f"first\n{line}{ending}last" if ending else f"first\n{line}"})
    workspace = limited(line_chars=10, chars=1_000)
    assert "the rest of line 2: start_line=2, start_column=11" in workspace.read("a.txt")
    found, column = line[:10], 11
    while column:
        shown, *notes = workspace.read("a.txt", 2, start_column=column).split("\n")
        found += shown.split("… (+")[0]
        column = next((int(note.split("start_column=")[1].split("]")[0]) for note in notes if "column=" in note), 0)
    assert found == line


def test_a_column_after_the_end_of_its_line_is_refused(workspace, fill, refused):
    fill({"a.txt": "one\nmore\n"})
    assert workspace.read("a.txt", 1, start_column=3).startswith("e\n")
    assert "Line 1 of 'a.txt' has 3 characters" in refused("column-range", workspace.read, "a.txt", 1, start_column=4)
    refused("line-range", workspace.read, "a.txt", 1, start_column=0)
