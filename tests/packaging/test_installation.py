"""`./run` installs: it can be killed at any moment, two at once wait for each other, and what changed is installed."""

import os
import signal
import stat
import subprocess

import pytest

MOMENTS = (
    "venv begins", "venv has python", "venv ends",
    "runtime begins", "lib has metadata", "lib is half there", "runtime ends",
    "workspace begins", "gaia has metadata", "gaia is half there", "workspace ends",
)  # fmt: skip
"""Where fake_python.py stops in `./run gaia` in a fresh checkout, in order."""

FRESH = ["venv", "pip runtime", "pip workspace"]


def killed(process, pid: int, number: int) -> str:
    """What *process* wrote to standard output until *number*, sent to *pid*, ended it by that signal."""
    os.kill(pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -number
    return output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_installation_that_is_killed_at_any_moment_starts_again(checkout, started, number):
    for moment in MOMENTS:
        process = started("gaia", stop=moment)
        checkout.until_stopped()
        assert killed(process, -process.pid, number) == "", moment

    assert checkout.run("gaia").stdout.startswith("gaia|")
    assert checkout.run("gaia").stdout.startswith("gaia|")
    assert checkout.log[-3:] == FRESH
    assert checkout.log.count("venv") == len(MOMENTS) + 1


@pytest.mark.parametrize("moment", ["just has metadata", "just is half there", "tools ends"])
def test_the_command_runner_is_installed_whole_or_again(checkout, started, moment):
    process = started("default", stop=moment)
    checkout.until_stopped()
    killed(process, -process.pid, signal.SIGINT)

    assert "serve" in checkout.run("default").stdout


@pytest.mark.parametrize("moment", ["another has metadata", "another is half there"])
def test_an_update_that_is_killed_starts_again(checkout, started, moment):
    checkout.run("gaia")
    (checkout.root / "requirements" / "runtime.txt").write_text("lib==1\nanother==2\n")
    process = started("gaia", stop=moment)
    checkout.until_stopped()
    killed(process, -process.pid, signal.SIGKILL)

    checkout.run("gaia")
    assert os.access(checkout.root / ".venv" / "bin" / "another", os.X_OK)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_its_process_alone_ends_pip_too(checkout, started, number):
    process = started("gaia", stop="lib is half there")
    pip = checkout.until_stopped()

    assert killed(process, process.pid, number) == ""

    with pytest.raises(ProcessLookupError):
        os.kill(pip, 0)


def test_pip_that_outlives_a_killed_run_keeps_the_next_one_waiting(checkout, started):
    first = started("gaia", stop="lib is half there")
    pip = checkout.until_stopped()
    first.kill()
    first.wait()

    second = started("gaia")
    assert "waiting for another ./run" in second.stderr.readline()
    os.kill(pip, signal.SIGKILL)

    output, _ = second.communicate(timeout=60)
    assert output.startswith("gaia|")
    assert checkout.log == ["venv", "pip runtime", *FRESH]


def test_two_at_once_install_once(checkout, started):
    first = started("gaia", stop="lib is half there")
    checkout.until_stopped()
    second = started("gaia")
    assert "waiting for another ./run" in second.stderr.readline()

    checkout.go_on()

    for process in (first, second):
        output, _ = process.communicate(timeout=60)
        assert output.startswith("gaia|")
    assert checkout.log == FRESH


def test_a_signal_that_the_caller_ignores_does_not_end_it(checkout, started):
    process = started("gaia", stop="lib is half there", by=("nohup",))
    checkout.until_stopped()
    os.killpg(process.pid, signal.SIGHUP)
    checkout.go_on()

    output, _ = process.communicate(timeout=60)
    assert output.startswith("gaia|")


def test_what_serves_needs_no_developer_tools(checkout):
    for command in ("serve", "chat", "gaia"):
        checkout.run(command)

    assert checkout.log == FRESH


def test_each_recipe_installs_what_it_lacks(checkout):
    checkout.run("gaia")
    checkout.run("default")
    checkout.run("setup")
    checkout.run("gaia")

    assert checkout.log == [*FRESH, "pip tools", "pip dev"]


def test_developer_tools_hold_the_rest(checkout):
    checkout.run("--install", "dev")
    checkout.run("gaia")
    checkout.run("default")

    assert checkout.log == ["venv", "pip dev", "pip workspace"]


@pytest.mark.parametrize(
    ("file", "installed"),
    [
        ("requirements/runtime.txt", "pip runtime"),
        ("pyproject.toml", "pip workspace"),
        ("toolsets/files/pyproject.toml", "pip workspace"),
        ("toolsets/new/pyproject.toml", "pip workspace"),
    ],
)
def test_changed_requirements_are_installed(checkout, file, installed):
    checkout.run("serve")
    path = checkout.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("another==2\n")

    assert checkout.run("serve").stdout.startswith("gaia|serve|")
    assert checkout.run("serve").stdout.startswith("gaia|serve|")
    assert checkout.log == [*FRESH, installed]


def test_requirements_that_change_back_are_installed_again(checkout):
    """Else the newer versions would stay, for the old digest is still known."""
    checkout.run("--install", "dev")
    old = {name: (checkout.root / "requirements" / name).read_text() for name in ("runtime.txt", "dev.txt")}
    for name, text in old.items():
        (checkout.root / "requirements" / name).write_text(text + "another==2\n")
    checkout.run("serve")
    for name, text in old.items():
        (checkout.root / "requirements" / name).write_text(text)
    checkout.run("serve")

    assert checkout.log == ["venv", "pip dev", "pip workspace", "pip runtime", "pip runtime"]


@pytest.mark.parametrize("file", ["bin/gaia", "bin/python", ".installed"])
def test_a_file_that_is_missing_is_installed_again(checkout, file):
    checkout.run("gaia")
    (checkout.root / ".venv" / file).unlink()

    assert checkout.run("gaia").stdout.startswith("gaia|")


def test_a_checkout_that_was_moved_is_installed_anew(checkout):
    checkout.run("gaia")
    moved = checkout.root.rename(checkout.root.with_name("moved"))

    ran = subprocess.run([moved / "run", "gaia"], env=checkout.environ, check=True, capture_output=True, text=True)

    assert f"it was made for {checkout.root}" in ran.stderr
    assert checkout.log == FRESH * 2


def test_another_python_is_taken_when_it_is_asked_for(checkout, tmp_path):
    checkout.run("gaia")
    other = tmp_path / "other"
    other.write_text((tmp_path / "python").read_text())
    other.chmod(0o755)
    environ = checkout.environ | {"PYTHON": str(other)}

    assert f"PYTHON asks for {other}" in checkout.run("gaia", env=environ).stderr
    checkout.run("gaia", env=environ)
    del environ["PYTHON"]  # then the one that it was made with
    checkout.run("gaia", env=environ)
    assert checkout.log == FRESH * 2


def test_its_own_python_makes_it_anew(checkout):
    """As when it is activated: `python3` is .venv/bin/python3."""
    checkout.run("gaia")
    (checkout.root / ".venv" / ".installed").unlink()
    environ = checkout.environ | {"PYTHON": str(checkout.root / ".venv" / "bin" / "python")}

    assert checkout.run("gaia", env=environ).stdout.startswith("gaia|")
    assert checkout.log == FRESH * 2


def test_a_link_to_another_venv_is_replaced_and_what_it_leads_to_is_kept(checkout, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / ".installed").write_text("{}")
    (checkout.root / ".venv").symlink_to(other)

    assert checkout.run("gaia").stdout.startswith("gaia|")
    assert [path.name for path in other.iterdir()] == [".installed"]
    assert not (checkout.root / ".venv").is_symlink()


def test_where_everything_is_installed_nothing_is_written(checkout):
    checkout.run("gaia")
    before = times(checkout)
    checkout.run("gaia")

    assert times(checkout) == before


def times(checkout) -> dict:
    paths = (path for path in checkout.root.rglob("*") if "__pycache__" not in path.parts)
    return {path: path.lstat().st_mtime_ns for path in paths if stat.S_ISREG(path.lstat().st_mode)}
