"""The event loop on a thread of its own: what Ctrl-C does to work that is handed over to it."""

import threading

import pytest

from gaia_core.cli.terminal._event_loop_thread import background


@pytest.mark.parametrize("handed_over", [False, True])
def test_ctrl_c_while_work_is_handed_over_begins_nothing(monkeypatch, handed_over):
    begun, hold = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()

    async def settled() -> None:
        """What was handed over before this has had its turn."""

    with background() as loop:
        hand_over = loop.loop.call_soon_threadsafe
        hand_over(hold.wait)  # the loop stands still until the interrupt has come

        def interrupted(*arguments, **options) -> None:
            monkeypatch.undo()
            if handed_over:
                hand_over(*arguments, **options)
            raise KeyboardInterrupt

        monkeypatch.setattr(loop.loop, "call_soon_threadsafe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.spawn(work())
        hold.set()
        loop.run(settled())

    assert not begun.is_set()
