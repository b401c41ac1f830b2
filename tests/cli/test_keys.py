"""`gaia keys`: keys are made, listed, renewed and revoked, and their secrets shown once."""

import pytest
from click.testing import CliRunner

from gaia_core.cli import main
from gaia_http.keys import Keyring


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `gaia keys` on a file of its own: stdout, stderr and the exit code."""
    monkeypatch.setenv("GAIA_KEYS", str(tmp_path / "keys.json"))

    def run(*arguments: str) -> tuple[str, str, int]:
        result = CliRunner().invoke(main, ("keys", *arguments))
        return result.stdout, result.stderr, result.exit_code

    return run


@pytest.fixture
def ring(tmp_path):
    return lambda: Keyring(tmp_path / "keys.json")


def test_a_key_is_shown_once_alone_on_stdout(run, ring, tmp_path):
    out, err, code = run("create", "laptop")

    secret = out.strip()
    assert code == 0
    assert secret.startswith("sk-gaia-")
    assert len(secret) > 40
    assert "shown only now" in err
    assert secret not in err
    assert ring().find(secret.encode()).name == "laptop"
    assert secret not in (tmp_path / "keys.json").read_text()
    assert secret not in run("list")[0]


def test_a_keys_rights_are_kept(run, ring):
    run("create", "ci", "-a", "b", "--agent", "a", "--requests-per-minute", "60", "--tokens-per-minute", "9000")
    run("create", "root", "--admin", "--running-turns", "2", "--approve", "sh_*", "--approve", "save")

    ci, root = ring().keys
    assert (ci.agents, ci.admin, ci.limits.requests_per_minute, ci.limits.tokens_per_minute) == (
        ("a", "b"), False, 60, 9_000,
    )  # fmt: skip
    assert (root.agents, root.admin, root.limits.running_turns) == (None, True, 2)
    assert (ci.approves, root.approves) == ((), ("save", "sh_*"))


def test_the_list(run):
    run("create", "ci", "-a", "coder", "--running-turns", "2")
    run("create", "root", "--admin")

    head, *rows = (line.split("\t") for line in run("list")[0].splitlines())

    assert head == ["id", "name", "created", "agents", "admin", "approves", "limits"]
    assert [row[1] for row in rows] == ["ci", "root"]
    assert [row[3:] for row in rows] == [
        ["coder", "no", "none", "running turns 2"],
        ["all", "yes", "none", "none"],
    ]


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_key_is_revoked(run, ring, by):
    secret = run("create", "laptop")[0].strip()
    (key,) = ring().keys

    out, _, code = run("revoke", getattr(key, by))

    assert code == 0
    assert "is revoked" in out
    assert ring().find(secret.encode()) is None


def test_a_renewed_key_is_the_same_with_another_secret(run, ring):
    old = run("create", "laptop", "-a", "a")[0].strip()
    (before,) = ring().keys

    new = run("renew", "laptop")[0].strip()

    after = ring().find(new.encode())
    assert ring().find(old.encode()) is None
    assert (after.id, after.name, after.agents) == (before.id, before.name, before.agents)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "laptop"), "there is a key 'laptop' already"),
        (("create", " "), "NAME must be 1 to 64"),
        (("create", "x\ny"), "NAME must be 1 to 64"),
        (("create", "y", "--running-turns", "0"), "--running-turns"),
        (("revoke", "nope"), "there is no key 'nope'"),
        (("renew", "nope"), "gaia keys list"),
    ],
)
def test_what_cannot_be_done_is_said(run, arguments, words):
    run("create", "laptop")

    out, err, code = run(*arguments)

    assert code != 0
    assert words in err
    assert not out


def test_the_list_of_no_file(run):
    assert run("list")[0].splitlines() == ["id\tname\tcreated\tagents\tadmin\tapproves\tlimits"]
