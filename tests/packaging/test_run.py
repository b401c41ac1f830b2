"""`./run`: from any folder, what a recipe needs is installed, progress is seen, and the shell becomes the command."""

import asyncio
import errno
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent


# The folder and the words


@pytest.mark.parametrize("command", ["serve", "chat", "gaia"])
def test_gaia_runs_in_the_callers_folder(checkout, tmp_path, command):
    folder = tmp_path / "my project"
    folder.mkdir()

    said = checkout.run(command, "--config", "a b.toml", "", cwd=folder).stdout

    words = ["gaia"] if command == "gaia" else ["gaia", command]
    assert said.split("|")[:-2] == [*words, "--config", "a b.toml", "", str(folder)]


def test_pip_gets_no_secret_of_the_server(checkout, tmp_path):
    names = tmp_path / "names"
    environ = {
        "GAIA_API_KEY": "sk-secret",
        "MY_TOKEN": "secret",
        "PIP_INDEX_URL": "https://index/",
        "PYTHONPATH": "/no",
    }

    checkout.run("serve", env=checkout.environ | environ | {"PIP_FAKE_ENVIRON": str(names)})

    seen = names.read_text().splitlines()
    assert {"PATH", "PIP_INDEX_URL"} <= set(seen)
    assert not {"GAIA_API_KEY", "MY_TOKEN", "PYTHONPATH"} & set(seen)


def test_gaia_takes_the_shells_process_id(checkout, started):
    process = started("serve")
    output, _ = process.communicate(timeout=300)

    assert output.split("|")[-2] == str(process.pid)


@pytest.mark.parametrize("how", ["by a link", "by a relative link", "by a link to a link", "by the shell", "relative"])
def test_it_finds_its_checkout(checkout, tmp_path, how):
    folder = tmp_path / "bin"
    folder.mkdir()
    run = checkout.root / "run"
    if how == "by a link":
        (folder / "gaia-run").symlink_to(run)
        command = [folder / "gaia-run"]
    elif how == "by a relative link":
        (folder / "gaia-run").symlink_to("../a checkout/run")
        command = ["./gaia-run"]
    elif how == "by a link to a link":
        (tmp_path / "one").symlink_to(run)
        (folder / "gaia-run").symlink_to("../one")
        command = [folder / "gaia-run"]
    elif how == "by the shell":
        command = ["sh", run]
    else:
        command = ["../a checkout/run"]

    ran = subprocess.run(
        [*command, "gaia"], cwd=folder, env=checkout.environ, check=True, capture_output=True, text=True
    )

    assert ran.stdout.startswith(f"gaia|{folder}|")
    assert (checkout.root / ".venv" / "bin" / "gaia").exists()


def test_recipes_run_in_the_checkout_and_keep_their_words(checkout, tmp_path):
    (checkout.root / "tests").mkdir()

    said = checkout.run("test", "-k", "this or that", "it's", cwd=tmp_path).stdout

    assert said.startswith("pytest|")
    assert said.endswith("|-k|this or that|it's\n")


def test_recipes_for_gaia_work_without_run(checkout, tmp_path):
    checkout.run("setup")
    just = [checkout.root / ".venv" / "bin" / "just", "--justfile", checkout.root / "justfile"]
    for words, expected in ((["chat", "a b"], "gaia|chat|a b|"), (["gaia", "sessions", "list"], "gaia|sessions|list|")):
        ran = subprocess.run(
            [*just, *words], cwd=tmp_path, env=checkout.environ, check=True, capture_output=True, text=True
        )
        assert ran.stdout.startswith(f"{expected}{tmp_path}|")


@pytest.mark.parametrize("words", [(), ("help",), ("--help",), ("--list",)])
def test_it_lists_the_recipes_and_installs_nothing(checkout, words):
    ran = checkout.run(*words)

    names = [line.split()[0] for line in ran.stdout.splitlines()]
    just = [COMMANDS / "just", "--justfile", ROOT / "justfile", "--summary", "--unsorted"]
    known = subprocess.run(just, check=True, capture_output=True, text=True).stdout.split()
    assert ["default", *names] == known
    assert all(len(line.split()) > 2 for line in ran.stdout.splitlines())
    assert (ran.stderr, checkout.log) == ("", [])


# Standard streams and signals


def test_standard_output_and_input_are_the_commands(checkout):
    ran = checkout.run("gaia", "stdin", input="a question")

    assert ran.stdout == "a question"
    assert "installing" in ran.stderr


def test_the_command_ignores_no_signal_that_its_caller_does_not(checkout):
    ran = checkout.run("gaia", "signals")

    assert int(ran.stdout.split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGINT - 1) == 0


def test_progress_is_plain_lines_where_there_is_no_terminal(checkout):
    said = checkout.run("gaia").stderr.splitlines()

    assert [re.sub(r"\d+ s$", "N s", re.sub(r"3\.\d+\.\d+", "3.N", line)) for line in said] == [
        "run: making .venv with Python 3.N",
        "run: making .venv with Python 3.N: done, N s",
        "run: installing requirements/runtime.txt",
        "run: installing requirements/runtime.txt: done, 1 package, N s",
        "run: installing the workspace",
        "run: installing the workspace: done, N s",
    ]
    assert checkout.run("gaia").stderr == ""


def test_progress_is_one_changing_line_on_a_terminal(checkout, started):
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        environ = checkout.environ | {"TERM": "xterm"}
        process = started("--install", "dev", stop="tester has metadata", stderr=theirs, env=environ)
        os.close(theirs)
        checkout.until_stopped()
        shown = b""
        while b"3 of 3 installed" not in shown:
            shown += terminal.read(4096)
        checkout.go_on()
        with suppress(OSError):  # Linux says so where the other side is closed
            while data := terminal.read(4096):
                shown += data
        assert process.wait(60) == 0

    for line in shown.decode().split("\r\n"):
        parts = line.split("\r")
        assert all(part.endswith("\x1b[K") for part in parts[1:-1])
    assert re.search(r"\r\x1b\[Krun: installing requirements/dev.txt: done, 3 packages, \d+ s\r\n", shown.decode())


# Errors


@pytest.mark.parametrize(
    ("says", "advice"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "the disk is full: "),
        (
            "WARNING: Retrying (Retry(total=0)) ... NewConnectionError(...)\nERROR: No matching distribution found",
            "index",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...", "PIP_CERT="),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "not the file that was pinned"),
        ("ERROR: No matching distribution found for lib==1", "try PYTHON="),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "use a checkout of your own"),
        ("ERROR: something else", "see the lines above"),
    ],
)
def test_a_failure_says_what_pip_said_and_what_to_do(checkout, says, advice):
    ran = checkout.run("serve", status=1, env=checkout.environ | {"PIP_FAKE_SAYS": says})

    *_, last = ran.stderr.splitlines()
    assert "installing requirements/runtime.txt failed with status 1" in ran.stderr
    assert f"    {says.splitlines()[-1]}" in ran.stderr
    assert advice in last
    assert ran.stdout == ""
    assert checkout.run("serve").stdout.startswith("gaia|serve|")


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_said_before_anything_is_made(checkout, module):
    ran = checkout.run("serve", status=1, env=checkout.environ | {"PIP_FAKE_WITHOUT": module})

    assert "apt-get install python3-venv" in ran.stderr
    assert not (checkout.root / ".venv").exists()


def test_no_python_is_said(checkout, tmp_path):
    for name in ("sed", "dirname", "readlink", "sh"):
        (tmp_path / "few").mkdir(exist_ok=True)
        (tmp_path / "few" / name).symlink_to(shutil.which(name))
    old = tmp_path / "few" / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    ran = checkout.run("serve", status=1, env={"PATH": str(tmp_path / "few")})
    assert "Python 3.11 or newer is needed (Debian: apt-get install python3 python3-venv)" in ran.stderr

    ran = checkout.run("serve", status=1, env=checkout.environ | {"PYTHON": str(old)})
    assert f"PYTHON is '{old}', which is not Python 3.11 or newer" in ran.stderr


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EROFS, "use a checkout of your own"),
        (errno.EACCES, "use a checkout of your own"),
        (errno.ENOSPC, "the disk is full"),
    ],
)
def test_a_checkout_that_cannot_be_written_is_said(checkout, number, advice):
    ran = checkout.run("serve", status=1, env=checkout.environ | {"PIP_FAKE_LOCK_ERROR": str(number)})

    assert f"{os.strerror(number)}: '{checkout.root}/.venv.lock'\n" in ran.stderr
    assert advice in ran.stderr.splitlines()[-1]


# For real


def test_real_pip_installs_a_pinned_wheel(tmp_path, checkout):
    wheel = tmp_path / "just-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as opened:
        script = zipfile.ZipInfo("just-1.data/scripts/just")
        script.external_attr = 0o100755 << 16
        opened.writestr(script, "#!/bin/sh\necho it runs\n")
        opened.writestr("just-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: just\nVersion: 1\n")
        opened.writestr("just-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        opened.writestr("just-1.dist-info/RECORD", "")
    pinned = f"just==1 --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}\n"
    (checkout.root / "requirements" / "tools.txt").write_text(pinned)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHON": sys.executable}
    environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_USER": "1"}

    ran = checkout.run("anything", env=environ | {"PYTHONPATH": str(COMMANDS)})

    assert ran.stdout == "it runs\n"
    assert "installing requirements/tools.txt: done, 1 package" in ran.stderr
    assert not (checkout.root / ".venv" / ".tmp").exists()


@pytest.fixture
def workspace(tmp_path):
    """A workspace with the real `run`, whose .venv is this one's: there is nothing to install."""
    for name in ("run", "justfile", "pyproject.toml", "http/pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("python", "just", "gaia"):
        (commands / name).symlink_to(COMMANDS / name)
    code = "import install; install._write_record(install._parts())"
    subprocess.run([sys.executable, "-ESs", "-c", code], cwd=tmp_path / "requirements", check=True)
    return tmp_path


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_its_process_ends_the_server(workspace, sent):
    environ = os.environ | {"GAIA_MODEL_URL": "http://127.0.0.1:9/v1", "GAIA_MODEL": "m", "GAIA_DISCOVER": "0"}
    environ |= {"XDG_DATA_HOME": str(workspace / "data"), "GAIA_KEYS": "", "GAIA_API_KEY": "", "PYTHON": ""}
    running = await asyncio.create_subprocess_exec(
        "sh",
        workspace / "run",
        "serve",
        "--port",
        "0",
        env=environ,
        start_new_session=True,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = ""
        while not said.rstrip().endswith("'"):  # the last of its words is a command to try
            line = (await running.stdout.readline()).decode()
            assert line, said
            said += line
        running.send_signal(sent)
        async with asyncio.timeout(60):
            rest = (await running.stdout.read()).decode()  # ends with the last process that has it

        assert (await running.wait(), rest) == (0, "stopped\n")
    finally:
        with suppress(ProcessLookupError):  # its group: also what it left behind
            os.killpg(running.pid, signal.SIGKILL)
        await running.wait()
    assert "run:" not in said
