"""The quota: what the turns of an owner may use and do. Who opens a runtime to others brings one; by default there is
none."""

from typing import Protocol

from gaia_core.catalog import UNLIMITED, StorageLimits, StorageQuota
from gaia_core.messages import Usage


class Quota(Protocol):
    """Asked before any turn begins, whichever surface begins it, and told when it has ended."""

    def begin(self, owner: str, *, resumed: bool = False) -> None:
        """Count a turn that begins. Raises LimitError: none may begin now; never for one that is *resumed*."""
        ...

    def ended(self, owner: str, usage: Usage) -> None:
        """A turn that was counted has ended, and has used this."""
        ...

    def approves(self, owner: str, tool: str) -> bool:
        """Whether *owner* has said yes beforehand to what a call of *tool* needs approval for. Asked for each call."""
        ...

    def storage(self, owner: str, configured: StorageQuota) -> StorageLimits:
        """How much *owner* may keep, where gaia.toml says *configured*. Asked before anything is kept."""
        ...


class NoQuota:
    """Everybody may use what there is."""

    def begin(self, owner: str, *, resumed: bool = False) -> None:
        """It may begin."""

    def ended(self, owner: str, usage: Usage) -> None:
        """Nobody counts."""

    def approves(self, owner: str, tool: str) -> bool:  # noqa: ARG002
        """Nobody has said yes beforehand."""
        return False

    def storage(self, owner: str, configured: StorageQuota) -> StorageLimits:
        """As configured; nobody is limited otherwise."""
        return (configured.keys or UNLIMITED) if owner else configured.local
