"""The environment of child processes: an allow-list. Every process that this project starts gets what this makes.

    environ = child_environ(os.environ)                              # what any program needs
    environ = child_environ(os.environ, PYTHON, given={"TMPDIR": "…"})

This process's own environment holds secrets: `GAIA_API_KEY`, `GAIA_JOURNAL` with a password, the keys of model
endpoints and of MCP servers. A child reads what it inherits, and so does whatever takes it over. This module imports
the standard library only, because `requirements/install.py` loads it before anything is installed.
"""

from collections.abc import Mapping

_ANY_PROGRAM = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
    # Windows starts nothing without most of these.
    "APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS", "OS", "PATHEXT",
    "PROCESSOR_ARCHITECTURE", "PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)", "SYSTEMDRIVE", "SYSTEMROOT",
    "USERNAME", "USERPROFILE", "WINDIR",
)  # fmt: skip

PYTHON = ("PYTHON*", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
"""What this Python may have been started with, and a child of the same Python needs too."""

NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC",
)  # fmt: skip
"""How other machines are reached. A proxy's URL may hold a password, so only what downloads gets it."""

PIP = (*NETWORK, "PIP_*")
"""What pip is configured by."""

BUILDING = (
    "CC", "CXX", "AR", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "ARCHFLAGS", "PKG_CONFIG_PATH", "CARGO_HOME",
    "RUSTUP_HOME", "MACOSX_DEPLOYMENT_TARGET", "SDKROOT",
)  # fmt: skip
"""What a package is compiled with, where an index has no wheel of it."""

_SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


def child_environ(environ: Mapping[str, str], *further: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What of *environ* a child process gets: what any program needs, the names *further*, and *given* over both.

    A name in *further* may end in `*`, for all that begin so; what is called a key, token, secret or password is never
    among these. A value that is a shell function is left out. Nothing is checked in *given*: that is for this child.
    """
    wanted = (*_ANY_PROGRAM, *further)
    names = frozenset(name for name in wanted if not name.endswith("*"))
    prefixes = tuple(name.removesuffix("*") for name in wanted if name.endswith("*"))
    passed = {
        name: value
        for name, value in environ.items()
        if name in names or (name.startswith(prefixes) and not name.upper().endswith(_SECRET_ENDINGS))
    }
    # bash exports functions as such values (source: the MCP SDK's `get_default_environment`, which drops them too).
    return {name: value for name, value in passed.items() if not value.startswith("()")} | dict(given or {})
