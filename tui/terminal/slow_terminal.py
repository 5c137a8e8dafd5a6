"""The terminal as a slow, breakable line: nothing waits for it, and what stands on it is not sent again."""

from __future__ import annotations

import asyncio
import codecs
import gc
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, Any, cast

from rich.console import RenderableType
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.message import Message
from textual.screen import Screen

from photon_triage.tui.terminal.repaint import Painted, Together

WAITING_MOST = 30
"""Updates that are kept for a terminal that is behind."""
CATCH_UP_S = 0.005
"""A terminal that was behind is looked after this often."""
SWITCH_S = 0.001
"""A thread that reads the session gives way to a key after so long, not after the 5 ms that Python gives it."""
CLOSING_S = 1.0
"""A terminal that takes nothing holds up the end no longer than this."""


def _lenient_decoder(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """A decoder that leaves out bytes that are no text, as those of a paste in Latin-1."""
    return partial(codecs.getincrementaldecoder(encoding), "ignore")


# Textual decodes what is typed strictly, and ends the application at the first byte that is no UTF-8.
setattr(linux_driver, "getincrementaldecoder", _lenient_decoder)  # noqa: B010 - it is one of Textual's own names


class _Line:
    """The file that the terminal is written through, by one thread; it never raises."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.busy = False
        self.gone = False
        """The terminal has hung up."""

    def write(self, text: str) -> None:
        """Write; returns when the terminal has room for it."""
        self.busy = True
        try:
            self._file.write(text)
        except OSError:
            self.gone = True

    def flush(self) -> None:
        """Write what is held back; called when nothing more waits."""
        try:
            self._file.flush()
        except OSError:
            self.gone = True
        self.busy = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class LineDriver(LinuxDriver):
    """Textual's driver, with a writer that the application never waits for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        file: Any = self._file
        self._line = _Line(file)
        setattr(self, "_file", self._line)  # noqa: B010 - it is a file as far as the writing thread knows
        self.begun = 0
        """How often the terminal was taken over: what stood there before is gone then."""

    @property
    def behind(self) -> bool:
        """Whether the terminal has not taken yet what it was sent."""
        writer = self._writer_thread
        return self._line.busy or (writer is not None and not writer._queue.empty())

    @property
    def gone(self) -> bool:
        """Whether the terminal has hung up."""
        return self._line.gone

    def start_application_mode(self) -> None:
        """Take the terminal over."""
        self.begun += 1
        if self.begun == 1 and isinstance(self._app, LineApp):
            # Before the first screen stands there is nothing to write, but the terminal is to be given back.
            self._app.leave_on_hangup(self._app.exit_early)
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def run_input_thread(self) -> None:
        """Read keys until the application ends, or the terminal has hung up: then it is left in order."""
        try:
            super().run_input_thread()
        except OSError:
            if isinstance(self._app, LineApp) and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._app.hang_up)

    def close(self) -> None:
        """Let go of the terminal; one that takes nothing is left as it is."""
        deadline = time.monotonic() + CLOSING_S
        while self.behind and time.monotonic() < deadline:
            time.sleep(0.01)
        if not self.behind:
            super().close()

    def send_message(self, message: Message) -> None:
        """Hand a key to the application; one that is typed when it has been left is for nobody."""
        if not self._loop.is_closed():
            super().send_message(message)

    def write(self, data: str) -> None:
        """Send soon; while the terminal takes nothing and much waits already, it is dropped."""
        if self._writer_thread is not None:
            try:
                self._writer_thread._queue.put_nowait(data)
            except queue.Full:
                return


class LineApp(App[int]):
    """An application that sends a terminal only what differs, and nothing while the terminal is behind."""

    def __init__(self, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class=driver_class)
        self._painted = Painted()
        self._begun = 0
        self._waiting: list[CompositorUpdate] = []
        self._skipped = False
        self._left: LineDriver | None = None
        self.painted_over: list[Callable[[Sequence[Region]], None]] = []
        """Told where something was painted: what is drawn over the text by other means is gone there."""
        self.hang_up: Callable[[], None] = self.exit_early
        """Leaves in order, once nobody is at the other end of the line."""

    def forget_lines(self, region: Region) -> None:
        """Something else than text stands on these lines: what is to stand there is sent again."""
        self._painted.forget_lines(region.y, region.bottom)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        driver, update = self._driver, cast(object, renderable)
        if (
            not isinstance(driver, LineDriver)
            or not isinstance(update, CompositorUpdate)
            or self._batch_count
            or not self._running
            or self._closed
        ):
            super()._display(screen, renderable)
            return
        if driver.behind:
            self._put_off(update)
            self.post_display_hook()
            return
        if self._waiting and not self._skipped:
            if not isinstance(update, LayoutUpdate):
                update = Together([*self._waiting, update])  # what waited is older and must not come last
            self._waiting = []
        self._left = driver
        if driver.begun != self._begun:
            self._begun = driver.begun
            self._painted.forget()
        difference = self._painted.difference(update)
        if difference.pieces or self.cursor_position != self._previous_cursor_position:
            super()._display(screen, cast(RenderableType, difference))
            for told in self.painted_over:
                told([Region(x, y, strip.cell_length, 1) for x, y, strip in difference.pieces])
        else:
            self.post_display_hook()

    def _put_off(self, update: CompositorUpdate) -> None:
        """Keep what could not be sent; where that becomes much, the whole screen is rendered anew instead."""
        if not self._waiting:
            self.set_timer(CATCH_UP_S, self._catch_up)
        self._waiting.append(update)
        if len(self._waiting) > WAITING_MOST or isinstance(update, LayoutUpdate):
            self._waiting = [CompositorUpdate()]
            self._skipped = True

    def _catch_up(self) -> None:
        driver = self._driver
        if isinstance(driver, LineDriver) and driver.behind:
            self.set_timer(CATCH_UP_S, self._catch_up)
            return
        waiting, self._waiting = self._waiting, []
        if self._skipped:
            self._skipped = False
            self.screen.refresh()
        elif waiting:
            self._display(self.screen, cast(RenderableType, Together(waiting)))

    def send(self, sequence: str) -> bool:
        """Send a control sequence as it is; returns whether there is a terminal."""
        if self._driver is None:
            return False
        self._driver.write(sequence)
        return True

    def keep_clipboard(self, text: str) -> None:
        """Remember what was copied, as Textual pastes it."""
        self._clipboard = text

    def action_redraw(self) -> None:
        """Paint everything again, where something else has written on the terminal."""
        self._painted.forget()
        self.screen.refresh()

    def pass_over(self) -> None:
        """Have Python's collector pass over all that is there now: each time it looks at it, keys wait for 0.1 s."""
        if isinstance(self._driver, LineDriver):
            gc.freeze()

    def leave_on_hangup(self, leave: Callable[[], None]) -> None:
        """Leave in order where the line drops, or somebody ends this process: what was decided is written first."""
        if isinstance(self._driver, LineDriver):
            self.hang_up = leave
            for number in (signal.SIGHUP, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, leave)

    def exit_early(self) -> None:
        """Leave where no screen stands yet."""
        self.exit(0)

    def run_on_line(self, ending: Callable[[], None] = lambda: None) -> int:
        """Run, then call `ending`; the exit code, 1 where the application ended by an error.

        Where the line has dropped or the terminal takes nothing any more, this ends the process: nobody is there to
        read what would follow, and to write it would wait for ever.
        """
        sys.setswitchinterval(SWITCH_S)
        try:
            code = self.run()
        finally:
            ending()
        code = 1 if code is None else code
        if self._left is not None and (self._left.gone or self._left.behind):
            os._exit(code)
        return code
