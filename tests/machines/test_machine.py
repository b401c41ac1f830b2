"""What a bare machine is told of this one. That the machines themselves work, `./run machine` shows."""

import runpy
from pathlib import Path

import pytest

MACHINE = runpy.run_path(str(Path(__file__).with_name("machine.py")), run_name="machine")


def test_the_mirror_is_the_first_one_of_a_debian_release():
    targets = (
        "https://tools.test/apt|Tools|stable|main\n"
        "http://mirror.test/debian-security/|Debian|bookworm-security|main\n"
        "http://mirror.test/debian/|Debian|bookworm|contrib\n"
        "http://mirror.test/debian/|Debian|bookworm|main\n"
        "http://other.test/debian/|Debian|trixie|main\n"
    )
    assert MACHINE["mirror_of"](targets) == "http://mirror.test/debian"


@pytest.mark.parametrize("targets", ["", "http://mirror.test/ubuntu|Ubuntu|noble|main\n"])
def test_a_machine_without_a_debian_mirror_is_told_what_to_do(targets):
    with pytest.raises(MACHINE["MachineError"], match=r"apt-get update.*--mirror"):
        MACHINE["mirror_of"](targets)


def test_the_settings_of_pip_are_written_as_one_file_without_those_of_the_environment():
    listed = (
        ":env:.cert='/etc/ssl/mine.pem'\n"
        "global.extra-index-url='https://a.test/simple\\nhttps://b.test/simple'\n"
        "global.timeout='60'\n"
        "install.no-binary='x'\n"
    )
    assert MACHINE["pip_file"](listed) == (
        "[global]\n"
        "extra-index-url = https://a.test/simple\n    https://b.test/simple\n"
        "timeout = 60\n"
        "[install]\nno-binary = x\n"
    )


def test_of_the_environment_only_what_finds_packages_gets_there():
    environ = {
        "PIP_INDEX_URL": "https://a.test/simple",
        "PIP_CACHE_DIR": "/home/me/pip",
        "https_proxy": "http://proxy.test:3128",
        "SSL_CERT_FILE": "/etc/ssl/mine.pem",
        "GAIA_API_KEY": "secret-secret-secret",
        "PYTHONPATH": "/home/me/python",
        "PATH": "/home/me/bin",
        "HOME": "/home/me",
    }
    there = MACHINE["environment_of"](environ)
    assert {name: there[name] for name in ("PIP_INDEX_URL", "https_proxy", "SSL_CERT_FILE")}.items() <= environ.items()
    assert there.keys() == {"PIP_INDEX_URL", "https_proxy", "SSL_CERT_FILE", "PATH", "HOME"}
    assert (there["HOME"], "/home/me" in there["PATH"]) == ("/root", False)


def test_files_and_folders_that_settings_name_are_found(tmp_path):
    (tmp_path / "index" / "simple").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "mine.pem").touch()
    settings = [
        f"global.extra-index-url='file://{tmp_path}/index/simple https://a.test/simple'\n",
        f"global.find-links='{tmp_path}/wheels {tmp_path}/missing'\n",
        f"{tmp_path}/mine.pem",
    ]
    # An index's links lead to files beside it.
    expected = [tmp_path / "index", tmp_path / "mine.pem", tmp_path / "wheels"]
    assert MACHINE["local_paths"](settings) == expected


def test_what_is_mounted_in_a_folder_is_seen():
    mountinfo = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "22 21 0:4 / /machines/a\\040b/proc rw - proc proc rw\n"
        "23 21 0:4 / /machines/a\\040bc/proc rw - proc proc rw\n"
    )
    assert MACHINE["mounted_in"](Path("/machines/a b"), mountinfo) == [Path("/machines/a b/proc")]
