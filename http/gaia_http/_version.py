"""The version of this distribution, as it is installed."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The version, for example `1.2.0`; "0" where the distribution is not installed."""
    try:
        return version("gaia-server-http")
    except PackageNotFoundError:
        return "0"
