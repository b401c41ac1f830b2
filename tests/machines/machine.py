"""`./run machine SUITE`: the two commands from nothing on a bare Debian, in a chroot made by debootstrap. See README

Each run begins with a fresh copy of the base system and a fresh clone of this checkout's HEAD. Everything runs in a
mount and a process namespace of its own: when this script ends, in whatever way, the kernel ends the processes there
and removes the mounts, which the rest of the system has never seen.

Standard library only: it runs before anything is installed.
"""

import argparse
import ast
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,git,procps"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE_DAYS = 7
"""A base system that is older is made anew: sid moves on, and its old packages leave the mirror."""

CHECKOUT = "/root/gaia"
CACHE = "/root/.cache"
STEPS = ("serve", "test")
SECONDS = {"serve": 1_800, "test": 3_600, "deploy": 1_800}

APT_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::Force")

ISOLATED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

ENTER = """
set -eu
cd "$1"
shift
mount -t proc proc proc
mount -t tmpfs -o mode=755,nosuid dev dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5,nosuid,noexec devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
while [ "$1" != -- ]; do
    mkdir -p "./$2"
    mount --bind -o "$3" "$1" "./$2"
    shift 3
done
shift
exec chroot . "$@"
"""
"""sh -c ENTER sh FOLDER [SOURCE TARGET OPTIONS]… -- COMMAND…, in namespaces of its own: run COMMAND in the chroot."""


class MachineError(Exception):
    """The machine can't be made, and why."""


# What this machine's own apt and pip are told, read when it is needed: no host is named here.


def mirror_of(targets: str) -> str:
    """The first Debian mirror among `apt-get indextargets` lines of URI|ORIGIN|RELEASE|COMPONENT."""
    for line in targets.splitlines():
        uri, origin, release, component = line.split("|")
        if origin == "Debian" and component == "main" and "-" not in release and uri.startswith("http"):
            return uri.rstrip("/")
    raise MachineError("apt knows no Debian mirror here (run `apt-get update`, or name one with --mirror)")


def pip_file(settings: str) -> str:
    """A pip configuration file that says what `pip config list` said, the environment's settings left out."""
    sections: dict[str, list[str]] = {}
    for line in settings.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section != ":env:":
            words = "\n    ".join(str(ast.literal_eval(value)).split("\n"))
            sections.setdefault(section, []).append(f"{key} = {words}\n")
    return "".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What of *environ* reaches the machine: how it finds packages, proxies and certificates."""
    exactly = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CI")
    taken = {
        name: value
        for name, value in environ.items()
        if name in exactly or name.startswith(("PIP_", "SSL_CERT_")) or name.upper().endswith("_PROXY")
    }
    taken.pop("PIP_CACHE_DIR", None)
    return taken | {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def local_paths(texts: list[str]) -> list[Path]:
    """The files and folders of this machine that *texts* name, as absolute paths or file: URLs."""
    paths = set()
    for word in " ".join(texts).replace("'", " ").replace("=", " ").split():
        # A URL is an index, and its links lead to a folder beside it.
        path = Path(word.removeprefix("file://")).parent if word.startswith("file:///") else Path(word)
        if path.is_absolute() and path != Path("/") and path.exists():
            paths.add(path)
    return sorted(paths)


# The base system, and the machine made from it.


def say(text: str) -> None:
    sys.stderr.write(f"machine: {text}\n")
    sys.stderr.flush()


def ask(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def mounted_in(folder: Path, mountinfo: str) -> list[Path]:
    """Where *mountinfo*, the text of /proc/self/mountinfo, says that something is mounted in *folder*."""
    points = (Path(line.split()[4].encode().decode("unicode_escape")) for line in mountinfo.splitlines())
    return [point for point in points if point.is_relative_to(folder)]


def remove(folder: Path) -> None:
    """Remove *folder*, unless something is mounted in it."""
    for point in mounted_in(folder, Path("/proc/self/mountinfo").read_text()):
        raise MachineError(f"{point} is still mounted: unmount it, then run this again")
    # On one file system only: whatever is mounted a moment later is spared.
    subprocess.run(("rm", "-rf", "--one-file-system", folder), check=True)


def base(cache: Path, suite: str, mirror: str) -> Path:
    """The archive of *suite*'s base system in *cache*, made unless it is there and fresh."""
    archive = cache / f"{suite}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < BASE_DAYS * 86_400:
        return archive
    say(f"making the base system of {suite} (kept for {BASE_DAYS} days)")
    making = cache / f"{suite}.making"
    remove(making)
    with (cache / f"{suite}.log").open("wb") as log:
        command = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, making, mirror)
        if subprocess.run((*ISOLATED, *command), stdout=log, stderr=log, check=False).returncode:
            raise MachineError(f"debootstrap failed: see {log.name}")
    part = archive.with_suffix(".part")
    subprocess.run(("tar", "-C", making, "--numeric-owner", "--exclude=./dev/*", "-cf", part, "."), check=True)
    part.replace(archive)
    remove(making)
    return archive


class Machine:
    """A Debian *suite* in *folder*. *python* is the interpreter of the two commands, by its package's name."""

    def __init__(self, suite: str, folder: Path, python: str, mirror: str) -> None:
        self.suite = suite
        self.folder = folder
        self.name = folder.name
        self.python = python
        self.mirror = mirror
        self.environ = environment_of(os.environ)
        self.shared: list[tuple[Path, str, str]] = []

    def make(self, cache: Path) -> None:
        """Lay out the base system, with this machine's settings, and clone the checkout."""
        archive = base(cache, self.suite, self.mirror)
        remove(self.folder)
        self.folder.mkdir()
        subprocess.run(("tar", "-C", self.folder, "--numeric-owner", "-xpf", archive), check=True)
        self.settings()
        self.clone()

    def settings(self) -> None:
        """The name servers, certificates and settings of apt and pip."""
        etc = self.folder / "etc"
        (etc / "resolv.conf").unlink(missing_ok=True)
        for file in (Path("/etc/resolv.conf"), Path("/etc/hosts"), CERTIFICATES):
            if file.exists():
                shutil.copyfile(file, self.folder / file.relative_to("/"))
        (etc / "apt/sources.list").write_text(f"deb {self.mirror} {self.suite} main\n")
        dumped = ask("apt-config", "dump").splitlines(keepends=True)
        lines = ['Acquire::Retries "3";\n', *(line for line in dumped if line.startswith(APT_SETTINGS))]
        (etc / "apt/apt.conf.d/99host").write_text("".join(lines))
        if Path("/etc/apt/auth.conf").exists():
            shutil.copy("/etc/apt/auth.conf", etc / "apt")
        if Path("/etc/apt/auth.conf.d").exists():
            shutil.copytree("/etc/apt/auth.conf.d", etc / "apt/auth.conf.d", dirs_exist_ok=True)
        pip = ask(sys.executable, "-m", "pip", "config", "list")
        (etc / "pip.conf").write_text(pip_file(pip))
        for path in local_paths([pip, *self.environ.values()]):
            target = self.folder / path.relative_to("/")
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            elif not target.exists() or not any(target.iterdir()):  # a folder of packages, say; none of the system's
                self.shared.append((path, str(path), "ro"))

    def clone(self) -> None:
        """A clone of what is committed here, without what lies about."""
        where = self.folder / CHECKOUT[1:]
        if where.exists():  # a kept machine: brought up to date, its .venv left
            subprocess.run(("git", "-C", where, "fetch", "--quiet", ROOT, "HEAD"), check=True)
            subprocess.run(("git", "-C", where, "reset", "--quiet", "--hard", "FETCH_HEAD"), check=True)
        else:
            subprocess.run(("git", "clone", "--quiet", "--no-hardlinks", ROOT, where), check=True)

    def share(self, source: Path, target: str) -> None:
        """Show the folder *source*, which is made when missing, at *target*."""
        source.mkdir(parents=True, exist_ok=True)
        self.shared.append((source, target, "rw"))

    def run(self, script: str, *arguments: str, seconds: float | None = None) -> int:
        """The exit status of the shell's *script* in the checkout there; raises subprocess.TimeoutExpired."""
        environ = (f"{name}={value}" for name, value in self.environ.items())
        # The shell stays process 1, as it waits for a command that isn't its last: it reaps what is orphaned.
        script = f"cd {CHECKOUT}\n{script}\nexit $?"
        shared = (word for source, target, options in self.shared for word in (source, target, options))
        command = ("env", "-i", *environ, "/bin/sh", "-c", script, "sh", *arguments)
        entered = ("sh", "-c", ENTER, "sh", self.folder, *shared, "--", *command)
        return subprocess.run((*ISOLATED, *entered), check=False, timeout=seconds).returncode

    def install(self, *packages: str) -> None:
        """Install Debian packages. Raises MachineError."""
        apt = 'export DEBIAN_FRONTEND=noninteractive; apt-get install -y -qq --no-install-recommends "$@" > /dev/null'
        if self.run(f"apt-get update -qq && {apt}", *packages):
            raise MachineError(f"can't install {' '.join(packages)} there")


# The steps.


def serve(machine: Machine) -> int:
    """`./run serve` there answers a question with a tool call, by the embedded model."""
    return machine.run("python3 tests/machines/question.py", seconds=SECONDS["serve"])


def test(machine: Machine, arguments: list[str]) -> int:
    """`./run test` there."""
    machine.install("postgresql", "curl")  # as .ci/run does
    return machine.run('./run test "$@"', *arguments, seconds=SECONDS["test"])


def deploy(machine: Machine) -> int:
    """The start commands of deploy/ there, in a network of their own: with the files' own ports and names."""
    machine.install("caddy", "nginx", "openssl", "postgresql", "python3-yaml", "systemd")
    words = "python3 -m tests.machines.deploy"
    return machine.run(f"{words} build && unshare --net {words} run", seconds=SECONDS["deploy"])


def steps(machine: Machine, chosen: str, arguments: list[str], *, bare: bool) -> int:
    """The exit status of the first step that fails, or 0."""
    if not bare:
        machine.install("libgomp1")
    if machine.python != "python3":
        machine.install(machine.python, f"{machine.python}-venv")
        machine.environ["PYTHON"] = machine.python
    machine.run('"${PYTHON:-python3}" -V')
    if chosen == "shell":
        return machine.run("bash -i")
    for step in STEPS if chosen == "all" else (chosen,):
        began = time.monotonic()
        say(f"{machine.name}: ./run {step}")
        try:
            status = test(machine, arguments) if step == "test" else {"serve": serve, "deploy": deploy}[step](machine)
        except subprocess.TimeoutExpired as error:
            raise MachineError(f"./run {step} had not ended after {error.timeout:.0f} s") from None
        say(f"{machine.name}: ./run {step}: {'FAILED' if status else 'ok'} in {time.monotonic() - began:.0f} s")
        if status:
            return status
    return 0


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock *file*: one run per machine. Raises MachineError when another has it."""
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(f"another run uses this machine ({file} is locked)") from None
        yield


def user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def parsed(given: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and after `--` the arguments of `./run test`."""
    parser = argparse.ArgumentParser(
        prog="./run machine",
        description="The two commands from nothing on a bare Debian.",
        epilog="What follows `--` are arguments of `./run test`.",
    )
    parser.add_argument("suite", help="a Debian release: bookworm, trixie or sid")
    parser.add_argument(
        "step", nargs="?", default="all", choices=("all", *STEPS, "deploy", "shell"), help="what to run (default: all)"
    )
    parser.add_argument("--python", default="python3", help="its interpreter, by Debian package: python3.15")
    parser.add_argument("--bare", action="store_true", help="without libgomp1, which llama.cpp needs")
    parser.add_argument("--keep", action="store_true", help="keep the machine after the run")
    parser.add_argument("--again", action="store_true", help="use the kept machine, brought up to HEAD; implies --keep")
    parser.add_argument("--mirror", help="the Debian mirror (default: the one in this machine's apt sources)")
    parser.add_argument("--cache", type=Path, default=user_cache() / "gaia-machines", help="where machines are made")
    end = given.index("--") if "--" in given else len(given)
    return parser.parse_intermixed_args(given[:end]), given[end + 1 :]


def main() -> int:
    options, arguments = parsed(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that the machine is removed then, too
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if os.getuid() != 0:
        raise MachineError("only root can make a chroot")
    if shutil.which("debootstrap") is None:
        subprocess.run(("apt-get", "update", "-qq"), check=True)
        subprocess.run(("apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"), check=True)
    form = "$(REPO_URI)|$(ORIGIN)|$(RELEASE)|$(COMPONENT)"
    mirror = options.mirror or mirror_of(ask("apt-get", "indextargets", "--format", form, "Identifier: Packages"))
    cache = options.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    name = options.suite if options.python == "python3" else f"{options.suite}-{options.python}"
    machine = Machine(options.suite, cache / name, options.python, mirror)
    with alone(cache / f"{name}.lock"):
        try:
            if options.again:
                machine.settings()
                machine.clone()
            else:
                machine.make(cache)
            # Downloads are shared by all machines; weights with this one, too.
            machine.share(Path(os.environ.get("GAIA_CACHE") or user_cache() / "gaia"), f"{CACHE}/gaia")
            machine.share(cache / "pip", f"{CACHE}/pip")
            return steps(machine, options.step, arguments, bare=options.bare)
        finally:
            if not (options.keep or options.again):
                remove(machine.folder)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (MachineError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"machine: {error}") from None
