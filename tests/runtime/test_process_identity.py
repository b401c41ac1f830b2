"""A replica's name: a process is declared dead only where its number means that process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gaia_core.runtime._process_identity import is_dead, replica_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

NAME = "from gaia_core.runtime._process_identity import replica_name; print(replica_name(), flush=True); input()"
DEAD = "import sys; from gaia_core.runtime._process_identity import is_dead; print(*map(is_dead, sys.argv[1:]))"
UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork")


def unshare_works() -> bool:
    return (
        shutil.which("unshare") is not None
        and not subprocess.run([*UNSHARE, "--mount-proc", "true"], capture_output=True, check=False).returncode
    )


def made(folder: Path, *, boot="b0071d00-x", pid_namespace=1, time_namespace: int | None = 2, own=None) -> Path:
    """A /proc for this process, with its start time and whatever namespaces."""
    pid = os.getpid()
    (folder / "self" / "ns").mkdir(parents=True)
    own_stat = Path(f"/proc/{pid}/stat").read_text()
    (folder / str(pid)).mkdir()
    (folder / str(pid) / "stat").write_text(own_stat)
    shutil.rmtree(folder / "self")
    (folder / "self").symlink_to(str(own or pid))
    ns = folder / str(own or pid) / "ns"
    ns.mkdir(parents=True)
    (ns / "pid").symlink_to(f"pid:[{pid_namespace}]")
    if time_namespace is not None:
        (ns / "time").symlink_to(f"time:[{time_namespace}]")
    random = folder / "sys/kernel/random"
    random.mkdir(parents=True)
    (random / "boot_id").write_text(f"{boot}\n")
    return folder


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def with_pid(name: str, pid: int) -> str:
    parts = name.split("/")
    return "/".join((parts[0], str(pid), *parts[2:]))


def test_a_process_of_the_same_boot_and_namespaces_that_has_ended_is_dead(tmp_path):
    here = made(tmp_path / "here")
    name = replica_name(here)

    assert not is_dead(name, here)
    assert is_dead(with_pid(name, ended_pid()), here)


@pytest.mark.parametrize("other", [{"boot": "0ther"}, {"pid_namespace": 7}, {"time_namespace": 7}])
def test_a_process_of_another_boot_or_namespace_is_left_to_its_lease(tmp_path, other):
    """Its number belongs to nobody here, or to somebody else: the second server took all live turns of the first."""
    here, there = made(tmp_path / "here"), made(tmp_path / "there", **other)

    assert not is_dead(with_pid(replica_name(there), ended_pid()), here)
    assert not is_dead(replica_name(there), here)


def test_a_number_that_another_process_has_by_now_is_dead(tmp_path):
    here = made(tmp_path / "here")
    machine, pid, start, random = replica_name(here).split("/")

    assert is_dead(f"{machine}/{pid}/{int(start) - 1}/{random}", here)


def test_where_proc_is_that_of_another_namespace_nobody_is_declared_dead(tmp_path):
    there = made(tmp_path / "there", own=1)
    name = replica_name(there)

    assert not is_dead(with_pid(name, ended_pid()), there)
    assert name.split("/")[2] == ""


def test_a_kernel_without_time_namespaces_is_known_by_the_others(tmp_path):
    here = made(tmp_path / "here", time_namespace=None)

    assert is_dead(with_pid(replica_name(here), ended_pid()), here)


@pytest.mark.parametrize("name", ["", "a/b/c/d", "host/1", "x/99999999999999999999999/1/r"])
def test_a_name_of_another_form_is_nobody(tmp_path, name):
    here = made(tmp_path / "here")
    machine = replica_name(here).split("/")[0]

    assert not is_dead(name.replace("x/", f"{machine}/"), here)


@pytest.mark.skipif(not unshare_works(), reason="no PID namespaces here")
@pytest.mark.parametrize("proc", [("--mount-proc",), ()])
def test_two_processes_in_different_pid_namespaces_leave_each_other_alone(proc):
    inner = subprocess.Popen(
        [*UNSHARE, *proc, sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    name = inner.stdout.readline().strip()
    try:
        seen = subprocess.run(
            [*UNSHARE, *proc, sys.executable, "-c", DEAD, name, replica_name()],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert seen.stdout.split() == ["False", "False"]
        assert not is_dead(name)
    finally:
        inner.communicate("\n")
