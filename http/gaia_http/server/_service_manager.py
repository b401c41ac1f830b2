"""The service manager (systemd, `Type=notify`): it receives when the server serves and stops, and that it still lives.

Nothing happens without NOTIFY_SOCKET. Source of the messages: sd_notify(3), sd_watchdog_enabled(3).
"""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping


class ServiceManager:
    """The one that started this process, by its *environ*; perhaps none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "") if sys.platform != "win32" else ""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environ.get("WATCHDOG_USEC", "") if self._address and mine else ""
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
        """How long it waits for a sign of life; 0: it doesn't."""

    def tell(self, *lines: str) -> None:
        """Send *lines*, such as `READY=1`. A manager that doesn't listen is no reason to fail."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(self._address)
                sender.send("\n".join(lines).encode())
        except OSError:
            return

    async def beat(self) -> None:
        """Give the signs of life that it asks for, as long as the event loop runs."""
        while True:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 2)
