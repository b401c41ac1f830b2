"""What a distribution's metadata say, when there are any: a broken installation is no reason to fail."""

from importlib.metadata import EntryPoint


def metadata_of(point: EntryPoint, field: str) -> str:
    """The *field*, `Name` or `Version`, of the distribution that announces *point*; "" when it doesn't say.

    Without a METADATA file `dist.name` is None, with a deprecation from Python 3.12 on, and an error from 3.15 on.
    """
    if point.dist is None:
        return ""
    try:
        metadata = point.dist.metadata
    except FileNotFoundError:  # importlib.metadata.MetadataNotFound
        return ""
    return metadata[field] if field in metadata else ""  # noqa: SIM401  # no `get` there before Python 3.12
