"""How far a training is, on stderr, and what is said where it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from photon_triage.core.common.errors import TrainingError
from photon_triage.tui.commands.output import progress_bar

if TYPE_CHECKING:
    from photon_triage.core.training.loop.progress import Note


@contextmanager
def shown_training(what: str, interrupted: str, hint: str, *, quiet: bool) -> Iterator[Note]:
    """A progress bar with loss and F1 while the block runs; give the training what this yields, to be told by it.

    Ctrl+C in the block raises TrainingError with the message `interrupted` and its hint.
    """
    with progress_bar(what, None, quiet=quiet) as advance:

        def note(done: int, planned: int, loss: float, f1: float | None) -> None:
            advance(done, total=planned, note=f"loss {loss:.4f}" + ("" if f1 is None else f"  F1 {f1:.3f}"))

        try:
            yield note
        except KeyboardInterrupt:
            raise TrainingError(interrupted, hint, title="Interrupted") from None
