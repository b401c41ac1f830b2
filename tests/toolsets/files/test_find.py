"""Listing, finding by name, and searching contents: sorted, bounded, and honest about what was left out."""

import os
import shutil
import subprocess

import pytest

from gaia_files._glob import Glob


def test_a_folder_is_listed_sorted_with_slashes_after_folders(workspace, fill):
    fill({"b.txt": "", "a/c.txt": "", ".hidden": "", "B.txt": ""})
    assert workspace.list() == ".hidden\nB.txt\na/\nb.txt"
    assert workspace.list("a") == "a/c.txt"


def test_a_recursive_list_has_each_folder_before_its_content(workspace, fill):
    fill({"a/b/c.txt": "", "a.txt": "", "a/z.txt": ""})
    assert workspace.list(recursive=True) == "a/\na/b/\na/b/c.txt\na/z.txt\na.txt"


def test_empty_folders_and_globs_without_a_match_say_so(workspace, fill):
    assert workspace.list() == "[There is nothing in '.']"
    fill({"a.txt": ""})
    assert workspace.list(glob="*.py") == "[Nothing matches '*.py' in '.']"


def test_globs_choose_by_name_or_by_path(workspace, fill):
    fill({"a.py": "", "src/b.py": "", "src/deep/c.py": "", "src/d.md": ""})
    assert workspace.list(glob="*.py") == "a.py"
    assert workspace.list(glob="*.py", recursive=True) == "a.py\nsrc/b.py\nsrc/deep/c.py"
    assert workspace.list(glob="**/*.py") == "a.py\nsrc/b.py\nsrc/deep/c.py"
    assert workspace.list(glob="src/*.py") == "src/b.py"
    assert workspace.list(glob="src/**") == "src/\nsrc/b.py\nsrc/d.md\nsrc/deep/\nsrc/deep/c.py"
    assert workspace.list("src", glob="deep/*.py") == "src/deep/c.py"
    assert workspace.list(glob="src/*.{py,md}") == "src/b.py\nsrc/d.md"


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.py", "a.py", True),
        ("*.py", "x/a.py", True),
        ("*.py", "a.pyc", False),
        ("x/*.py", "x/a.py", True),
        ("x/*.py", "x/y/a.py", False),
        ("x/**/*.py", "x/a.py", True),
        ("x/**/*.py", "x/y/z/a.py", True),
        ("**/x/**", "a/x/b", True),
        ("**/x/**", "a/y/b", False),
        ("**", "a/b/c", True),
        ("[a-c]?.txt", "b1.txt", True),
        ("[!a-c].txt", "b.txt", False),
        ("[z-a].txt", "b.txt", False),
        ("[", "[", True),
        ("{a,b{c,d}}.txt", "bd.txt", True),
        ("./*.py", "a.py", True),
        ("a.b", "axb", False),
    ],
)
def test_globs(pattern, path, fits):
    assert Glob.of(pattern).matches(tuple(path.split("/"))) is fits


def test_hostile_globs_end_soon_or_are_refused(refused):
    assert not Glob.of("*a" * 200 + "b").matches(("a" * 255,))
    assert not Glob.of("**/" * 100 + "x").matches(("a",) * 64)
    assert not Glob.of("*" * 400 + "b").matches(("a" * 255,))
    refused("glob", Glob.of, "{a,b}" * 10)
    refused("glob", Glob.of, "*" * 501)


def test_some_folders_are_named_but_not_entered(workspace, fill):
    fill({".git/config": "x", "node_modules/m/i.js": "", "a.txt": ""})
    assert workspace.list(recursive=True) == (
        ".git/\na.txt\nnode_modules/\n[not entered: .git, node_modules; give one as the path to look into it]"
    )
    fill({"src/.git/x": ""})
    assert "[not entered: 2 folders .git, node_modules; give" in workspace.list(recursive=True)
    assert workspace.list(".git", recursive=True) == ".git/config"
    assert workspace.search("x", ".git") == ".git/config:1: x"


def test_a_long_list_counts_what_it_leaves_out(limited, fill):
    fill({f"{number:03}.txt": "" for number in range(50)})
    listed = limited(shown=3).list().split("\n")
    assert listed == ["000.txt", "001.txt", "002.txt", "[… 47 more not shown; narrow it with path or glob]"]
    assert limited(chars=20).list().startswith("000.txt\n001.txt\n[… 48 more")


def test_a_list_that_ends_early_says_so(limited, fill):
    fill({f"{number:03}.txt": "" for number in range(50)})
    assert "[stopped after 10 entries; there may be more" in limited(entries=10).list()
    assert limited(seconds=0).search("x").startswith("[Nothing contains 'x' in '.' so far]\n[stopped after 0 seconds;")
    assert "[stopped because the call was cancelled;" in limited().search("x", cancelled=lambda: True)


def test_a_deep_tree_is_walked_as_far_as_paths_reach(workspace, root, tree):
    at = root
    for _ in range(80):
        at = at / "d"
    at.mkdir(parents=True)
    listed = workspace.list(recursive=True).split("\n")
    assert len(listed) == 65
    assert listed[63] == "d/" * 64
    assert listed[64] == "[1 folder deeper than 64 levels not entered]"
    assert workspace.list("/".join("d" * 64)) == "d/" * 65


def test_names_with_odd_characters_stay_on_one_line(workspace, root, fill):
    fill({"two\nlines.txt": "secret", "flip\u202etxt.exe": "", "tab\there": "", "naïve 😀.txt": ""})
    assert workspace.list() == "flip\\u202etxt.exe\nnaïve 😀.txt\ntab\\there\ntwo\\nlines.txt"
    assert workspace.search("secret") == "two\\nlines.txt:1: secret"
    assert workspace.read("two\nlines.txt") == "secret"


def test_names_that_are_not_unicode_are_shown_and_counted(workspace, root):
    try:
        (root / os.fsdecode(b"bad\xff.txt")).write_text("findme")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert workspace.list() == "bad\\xff.txt\n[1 name not valid UTF-8, shown with \\x, can't be opened]"
    assert workspace.search("findme").encode() == b"bad\\xff.txt:1: findme"
    assert workspace.find("bad").startswith("bad\\xff.txt")


def test_files_are_found_by_a_part_of_the_name_or_a_glob(workspace, fill):
    fill({"src/Main.py": "", "src/main_test.py": "", "docs/domain.md": ""})
    assert workspace.find("main") == "docs/domain.md\nsrc/Main.py\nsrc/main_test.py"
    assert workspace.find("MAIN.*") == "src/Main.py"
    assert workspace.find("main", "src") == "src/Main.py\nsrc/main_test.py"
    assert workspace.find("src/main.py") == "src/Main.py"
    assert workspace.find("zzz") == "[No name contains 'zzz' in '.']"


def test_finding_nothing_in_particular_is_refused(workspace, refused):
    refused("empty", workspace.find, " ")
    refused("empty", workspace.search, "")
    refused("too-large", workspace.search, "x" * 1_001)


def test_text_is_found_with_its_path_and_line(workspace, fill):
    fill({"a.txt": "one\nTwo needles: needle\nthree\nneedle", "b/c.md": "a Needle\r\n", "d.txt": "nothing"})
    assert workspace.search("needle") == "a.txt:2: Two needles: needle\na.txt:4: needle\nb/c.md:1: a Needle"
    assert workspace.search("Needle", case_sensitive=True) == "b/c.md:1: a Needle"
    assert workspace.search("needle", glob="*.md") == "b/c.md:1: a Needle"
    assert workspace.search("needle", "a.txt") == "a.txt:2: Two needles: needle\na.txt:4: needle"


def test_text_of_several_lines_is_found_where_it_starts(workspace, fill):
    fill({"a.txt": "x\r\none\r\ntwo\r\nx\r\none\r\ntwo"})
    assert workspace.search("one\ntwo") == "a.txt:2: one\na.txt:5: one"


def test_letter_case_is_ignored_beyond_ascii(workspace, fill):
    fill({"a.txt": "ß\nSTRASSE\nİstanbul\nÄrger"})
    assert workspace.search("straße") == "a.txt:2: STRASSE"
    assert workspace.search("ärger") == "a.txt:4: Ärger"


def test_a_regular_expression_is_taken_as_text_and_explained(workspace, fill):
    fill({"a.txt": "a(b+)+c\naaaa"})
    assert workspace.search("(b+)+") == "a.txt:1: a(b+)+c"
    assert "not as a regular expression" in workspace.search("a.*c")


def test_a_long_line_shows_the_part_around_the_match(workspace, fill):
    fill({"a.txt": "x" * 5_000 + "needle" + "y" * 5_000})
    found = workspace.search("needle")
    assert "xneedley" in found
    assert len(found) < 250


def test_matches_are_counted_when_not_all_are_shown(limited, fill):
    fill({"a.txt": "needle\n" * 10})
    found = limited(matches=2).search("needle")
    assert found == "a.txt:1: needle\na.txt:2: needle\n[… 8 more matches not shown; narrow it with path or glob]"


def test_a_search_that_is_cancelled_stops_counting(workspace, fill):
    fill({"a.txt": "needle\n" * 50_000})
    asked = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) > 2

    found = workspace.search("needle", cancelled=cancelled)
    assert "stopped because the call was cancelled" in found
    assert "49,900" not in found


def test_a_large_text_beyond_ascii_is_searched_as_a_whole(workspace, fill):
    text = "Ärger\n" * 30_000 + "NÄDEL\n" + "ß" * 70_000 + "\nnädel"
    fill({"a.txt": text})
    assert workspace.search("nädel") == "a.txt:30001: NÄDEL\na.txt:30003: nädel"


def test_a_search_says_what_it_left_out(limited, fill):
    fill({"a.txt": "needle\n", "big.txt": "needle " * 1_000, "c.bin": b"\0needle"})
    found = limited(search_file_bytes=100).search("needle")
    assert found == "a.txt:1: needle\n[1 file larger than 100 bytes not searched]"
    assert "stopped after reading 10 bytes" in limited(search_bytes=10).search("needle", "big.txt")


def test_files_in_other_encodings_are_searched(workspace, fill):
    fill({"a.txt": "größe".encode("utf-16"), "b.txt": b"gr\xf6\xdfe but needle"})
    assert workspace.search("GRÖSSE") == "a.txt:1: größe"
    assert workspace.search("needle") == "b.txt:1: gr\ufffd\ufffde but needle"


def test_a_large_folder_does_not_starve_the_others(limited, fill):
    fill({f"build/{number}.txt": "x" for number in range(1_500)})
    fill({f"build/{number}/{n}.txt": "x" for number in range(30) for n in range(20)})
    fill({"src/pkg/deep/a.py": "needle", "src/b.py": "needle"})
    workspace = limited(entries=1_100)
    found = workspace.search("needle")
    assert found.startswith("src/b.py:1: needle\nsrc/pkg/deep/a.py:1: needle\n[stopped after 1,100 entries")
    assert "src/pkg/deep/a.py" in workspace.find("a.py")


def test_many_folders_do_not_starve_a_deeper_one(limited, fill):
    fill({f"build/{number}/{n}.txt": "x" for number in range(200) for n in range(5)})
    fill({"src/pkg/deep/more/a.py": "needle"})
    assert limited(entries=300).search("needle").startswith("src/pkg/deep/more/a.py:1: needle")


def test_a_search_of_everything_finds_what_is_in_large_folders_too(workspace, fill):
    fill({f"build/{number}.txt": "needle" if number == 1_400 else "x" for number in range(1_500)})
    assert workspace.search("needle") == "build/1400.txt:1: needle"


def test_what_gitignore_names_is_not_searched_and_said(workspace, fill):
    fill({
        ".gitignore": "/build/\n*.log\n!keep.log\n# comment\n\ntmp\n",
        "build/a.txt": "needle", "src/build/a.txt": "needle", "a.log": "needle", "src/keep.log": "needle",
        "src/tmp/x": "needle", "src/.gitignore": "!a2.log\n/only\n", "src/a2.log": "needle", "src/only/x": "needle",
        "only/x": "needle",
    })  # fmt: skip
    assert workspace.search("needle") == (
        "only/x:1: needle\nsrc/a2.log:1: needle\nsrc/keep.log:1: needle\nsrc/build/a.txt:1: needle\n"
        "[left out by .gitignore: build, src/only, src/tmp, 1 file; give one as the path to look into it]"
    )
    assert workspace.search("needle", "build") == "build/a.txt:1: needle"
    assert workspace.search("needle", "a.log") == "a.log:1: needle"
    assert workspace.search("needle", "src/tmp") == "src/tmp/x:1: needle"
    assert "src/tmp/x" in workspace.find("x")


def test_a_search_that_starts_below_obeys_the_rules_of_the_folders_above(workspace, fill):
    fill({".gitignore": "*.o\n/build/\n", "src/a.c": "needle", "src/a.o": "needle", "build/out/a.o": "needle"})

    assert workspace.search("needle", "src").startswith("src/a.c:1: needle\n[left out by .gitignore: 1 file")
    assert workspace.search("needle", "build/out") == "build/out/a.o:1: needle", "it was asked for by name"


def git_ignores(root, paths):
    answer = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin", "-z"], cwd=root, input="\0".join(paths), text=True,
        capture_output=True, check=False, env={"PATH": os.environ["PATH"], "HOME": str(root)},
    )  # fmt: skip
    return set(filter(None, answer.stdout.split("\0")))


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_gitignore_means_what_it_means_to_git(workspace, root, fill):
    names = ("a", "b.txt", "c.log", ".d", "e f", "[x]", "#h", "!n", "x*y")
    paths = [f"{above}{name}" for above in ("", "p/", "p/q/", "r/p/", "a b/") for name in names]
    paths.append("s/p")  # a file with a name that folders have
    fill(dict.fromkeys(paths, "needle"))
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    for rule in (
        "a", "*.txt", "/a", "p/", "p/a", "**/q", "p/**", "r/**/a", "*", "*\n!b.txt", "*.log\n!/c.log", "\\#h", "\\!n",
        "e f", "a b/", "[ab]", "[!a]", "?", ".d", "p/*", "/*\n!/p", "\\[x\\]", "x\\*y", "a ", "**", "p/**/a",
        "/p/q/", "r/*/a", "p\n!p/a", "#h", "p/q/**\n!p/q/a",
    ):  # fmt: skip
        (root / ".gitignore").write_text(rule + "\n")
        found = {line.split(":1:")[0] for line in workspace.search("needle").split("\n") if ":1: needle" in line}
        assert found == set(paths) - git_ignores(root, paths), rule


def test_a_hostile_gitignore_costs_no_time(limited, fill):
    fill({".gitignore": "\n".join(["*a" * 100 + "b", "[" * 50, "**/" * 50 + "x"] * 300), "a" * 200: "needle"})
    assert "needle" in limited(seconds=5).search("needle").split("\n")[0]
