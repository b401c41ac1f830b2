"""Which process a replica's name stands for, so that a later process can tell that it is gone without waiting.

    name = replica_name()      # "host-boot-namespaces/pid/start/random"
    is_dead(name)              # True: that process has ended; False: it lives, or nothing is known of it

A process number alone identifies nothing: a container has its own numbers, and a number is used again. So a name says
the boot, the PID and time namespaces in which the number and the start time hold, and when the process started. A name
from another boot, namespace or machine is never declared dead here: its leases expire by themselves.
"""

import os
import socket
import sys
import uuid
from contextlib import suppress
from pathlib import Path

from gaia_core.session import new_id

_PROC = Path("/proc")
_NAMESPACES = ("pid", "time")


def replica_name(proc: Path = _PROC) -> str:
    """A name that no process had before, which says which process of which machine it is."""
    machine = _machine(proc)
    start = _started(os.getpid(), proc) if machine is not None else ""
    return f"{machine or socket.gethostname()}/{os.getpid()}/{start}/{new_id()[:8]}"


def is_dead(name: str, proc: Path = _PROC) -> bool:
    """Whether *name* is that of a process of this machine and these namespaces that is gone."""
    return _runs(name, proc) is False


def is_running(name: str, proc: Path = _PROC) -> bool:
    """Whether *name* is that of a process of this machine and these namespaces that runs: its number is its own."""
    return _runs(name, proc) is True


def _runs(name: str, proc: Path) -> bool | None:
    """None: that can't be seen from here."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != _machine(proc) or not parts[1].isdecimal():
        return None
    pid = int(parts[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return None
    return _started(pid, proc) == parts[2]


def _machine(proc: Path) -> str | None:
    """Where a process number means a process: the host, its boot and the namespaces; None where that isn't known."""
    host = socket.gethostname()
    if sys.platform == "win32":
        return None  # os.kill(pid, 0) would be Ctrl-C there
    if sys.platform != "linux":
        return f"{host}-{uuid.getnode():x}"
    try:
        # A /proc of another PID namespace (`unshare -pf` without --mount-proc) tells of other processes.
        if str((proc / "self").readlink()) != str(os.getpid()):
            return None
        boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        # A kernel without time namespaces has no such link.
        kept = [kind for kind in _NAMESPACES if kind == "pid" or (proc / "self/ns" / kind).is_symlink()]
        spaces = [str((proc / "self/ns" / kind).readlink()) for kind in kept]
    except (OSError, UnicodeDecodeError):
        return None
    return "-".join((host, boot, *("".join(filter(str.isdecimal, space)) for space in spaces)))


def _started(pid: int, proc: Path) -> str:
    """When the process began, in the kernel's ticks; "" where that can't be had, `zombie` for one that has ended."""
    with suppress(OSError, IndexError):
        fields = (proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return "zombie" if fields[0] == "Z" else fields[19]
    return ""
