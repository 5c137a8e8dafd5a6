"""`photon-triage embed`: what a network sees in the frames, for the queues of kinds and outliers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photon_triage.core.common.errors import SessionError
from photon_triage.tui.commands.output import progress_bar, say, say_json
from photon_triage.tui.commands.session import DeviceOption


def embed(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose features are taken; that of the recipe's first network."),
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Embed at most so many frames now, spread evenly; all.")
    ] = None,
    kinds: Annotated[int, typer.Option(min=2, max=1000, help="Kinds to tell apart, at most.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn to find the kinds.")] = 0,
    device: DeviceOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sort frames by kind without a label: what reaches the network, as the network's last features see it.

    The screen's queues "kinds" (one frame of each kind first) and "outliers" (those least like any other) follow from
    it. Only frames that are not embedded yet are read; after an interruption the same command goes on. It runs at low
    priority beside the engine. Another --model replaces what is there.
    """
    from dataclasses import asdict

    from photon_triage.core.common.worker_process import lower_priority
    from photon_triage.core.embedding.embed import embed as embed_frames
    from photon_triage.core.session.session import Session

    lower_priority()
    session = Session.open(session_path)
    with progress_bar("embedding", None, quiet=quiet or as_json) as advance:
        try:
            done = embed_frames(
                session, model, most=most, kinds_wanted=kinds, device=device, seed=seed,
                note=lambda count, planned: advance(count, total=planned),
            )  # fmt: skip
        except KeyboardInterrupt:
            raise SessionError(
                "The embedding was interrupted; what was embedded is kept.",
                "Give the same command again: it goes on with the frames that are left.",
                title="Interrupted",
            ) from None
    if as_json:
        say_json(asdict(done))
        return
    say(f"{done.new} frames embedded with {done.model}, {done.frames} in all, of {done.kinds} kinds.")
    if done.unreadable:
        say(f"{done.unreadable} cannot be read any more.")
    if done.waiting > done.unreadable:
        say(f"{done.waiting - done.unreadable} are left for the same command.")
    say("On the screen, s lists them: kinds has one of each kind first, outliers what is like no other.")
