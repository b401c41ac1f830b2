"""`gaia model`: what it says, and what it fetches."""

import hashlib
import io

import pytest
from click.testing import CliRunner
from rich.console import Console

from gaia_core.cli.model import model, pull_libraries, pull_weights
from gaia_core.cli.terminal._download_progress import fetching, show
from gaia_core.models.embedded import LocalFile, ReplacementLibrary, State, Weights


@pytest.fixture
def gaia(tmp_path, monkeypatch):
    """Run `gaia model …` in an empty folder, with this environment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0, **environ: str) -> str:
        base = {
            "GAIA_CACHE": str(tmp_path / "cache"),
            "GAIA_DISCOVER": "0",
            "GAIA_MODEL_URL": None,
            "GAIA_WEIGHTS": None,
            "GAIA_EMBEDDED_MODEL": "0.5b",
        }
        result = CliRunner().invoke(model, arguments, env=base | environ)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_status_names_the_configured_model_and_why(gaia):
    said = gaia("status", GAIA_MODEL_URL="http://127.0.0.1:1/v1", GAIA_MODEL="qwen")

    assert "local: qwen at http://127.0.0.1:1/v1 (GAIA_MODEL_URL)" in said


def test_status_names_the_embedded_model_and_what_is_missing(gaia):
    said = gaia("status")

    assert "local: Qwen2.5-Coder 0.5B, a tiny model (embedded" in said
    assert "no weights yet; `gaia model pull` fetches Qwen2.5-Coder-0.5B-Instruct (Q4_K_M), 491 MB" in said
    assert "(GAIA_EMBEDDED_MODEL=0.5b)" in said
    assert "of 30 questions about a folder" in said


def test_status_and_pull_name_the_larger_one_too(gaia, tmp_path):
    said = gaia("status", GAIA_EMBEDDED_MODEL="1.5b")
    assert "`gaia model pull` fetches Qwen2.5-Coder-1.5B-Instruct (Q4_K_M), 1117 MB" in said
    (tmp_path / "wrong.gguf").write_bytes(b"x")
    assert "Qwen2.5-Coder-1.5B" in gaia("pull", "--model", "1.5b", "--path", "wrong.gguf", code=1)
    assert "GAIA_EMBEDDED_MODEL must be 0.5b or 1.5b" in gaia("status", GAIA_EMBEDDED_MODEL="7b", code=1)


def test_status_names_weights_of_the_environment(gaia, noise):
    said = gaia("status", GAIA_WEIGHTS=str(noise))

    assert "local: noise.gguf (embedded" in said
    assert f"ready to start, {noise} (GAIA_WEIGHTS)" in said


def test_status_names_weights_that_are_not_there(gaia, tmp_path):
    said = gaia("status", GAIA_WEIGHTS=str(tmp_path / "none.gguf"))

    assert "GAIA_WEIGHTS: the weights" in said
    assert "can't be read: No such file" in said


MISSING = "raise ImportError('libgomp.so.1: cannot open shared object file: No such file or directory')"


def test_status_names_a_library_that_is_missing(gaia, runtime, noise):
    runtime(MISSING)

    said = gaia("status", GAIA_WEIGHTS=str(noise))

    assert "can't run here: its runtime can't be loaded: libgomp.so.1 is missing on this system. Install it" in said
    assert "apt-get install libgomp1" in said
    assert "`gaia model pull` fetches a replacement, which needs no root" in said
    assert "Traceback" not in said


def test_status_of_a_runtime_that_is_not_installed(gaia, runtime):
    runtime("raise ModuleNotFoundError(\"No module named 'xllamacpp'\", name='xllamacpp')")

    assert "its runtime is not installed (pip install 'gaia-server-core[embedded]')" in gaia("status")


def test_pull_fetches_what_replaces_a_missing_library(runtime, tmp_path, capsys):
    runtime(f"import os\nif {str(tmp_path)!r} not in os.environ.get('LD_LIBRARY_PATH', ''): {MISSING}")
    library = tmp_path / "library"
    library.write_bytes(b"a library")
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    spare = ReplacementLibrary("libgomp.so.1", "A spare", digest, 9, "Nobody's notice.", (LocalFile(library),))

    pull_libraries((spare,), tmp_path / "cache")
    pulled = capsys.readouterr()
    pull_libraries((), tmp_path / "cache")
    refused = capsys.readouterr()

    kept = tmp_path / "cache" / digest / "libgomp.so.1"
    assert pulled.out == f"{spare}: {kept}\nNobody's notice.\n"
    assert str(spare).startswith("libgomp.so.1 is missing on this system; A spare is used in its place")
    assert refused.out == ""
    assert refused.err.startswith("NOTE: the embedded model can't run here: its runtime can't be loaded: libgomp.so.1")


def test_pull_refuses_a_file_of_other_bytes(gaia, noise):
    said = gaia("pull", "--path", str(noise), code=1)

    assert f"{noise}: sent other bytes" in said
    assert "Traceback" not in said


def test_pull_fetches_checks_and_says_where(tmp_path, capsys, noise):
    data = noise.read_bytes()
    weights = Weights("Noise", hashlib.sha256(data).hexdigest(), len(data), "Nobody's notice.")
    folder = tmp_path / "cache"

    pull_weights(weights, (LocalFile(noise),), folder)
    pulled = capsys.readouterr()
    pull_weights(weights, (), folder)
    again = capsys.readouterr()

    assert pulled.out == f"Noise: {weights.path(folder)}\nNobody's notice.\n"
    assert "embedded model: 100 % fetching from" in pulled.err
    assert again.out == f"Noise is there: {weights.path(folder)}\n"
    assert again.err == ""


STATES = (
    State("idle"),
    State("fetching", 0, 1_000, "the hub"),
    State("fetching", 1, 1_000, "the hub"),
    State("fetching", 250, 1_000, "the hub"),
    State("fetching", 1_000, 1_000, "the hub"),
    State("checking"),
    State("starting"),
    State("ready"),
    State("closed"),
)


async def test_without_a_terminal_progress_is_a_line_now_and_then():
    async def states():
        for state in STATES:
            yield state

    out = io.StringIO()

    await show(states(), Console(file=out))

    assert out.getvalue().splitlines() == [
        "embedded model: 0 % fetching from the hub",
        "embedded model: 20 % fetching from the hub",
        "embedded model: 100 % fetching from the hub",
        "embedded model: checking what was fetched",
        "embedded model: starting",
        "embedded model: ready",
    ]


def test_on_a_terminal_progress_is_a_bar_that_goes_away():
    out = io.StringIO()

    with fetching(Console(file=out, force_terminal=True, width=120)) as shown:
        for state in STATES:
            shown.told(state)

    assert "fetching from the hub" in out.getvalue()
    assert "0.0/1.0 kB" in out.getvalue()
    assert "embedded model: ready" in out.getvalue()
