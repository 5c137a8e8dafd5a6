"""Make the pictures of the main screen from a session: pictures.py SESSION FOLDER [KEY...], one at each size."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from photon_triage.core.session.session import Session
from photon_triage.tui.app import TriageApp

SIZES = ((80, 24), (120, 40), (200, 60))
SETTLE_S = 3.0
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""Fonts from elsewhere: a picture must not fetch anything."""


async def picture(session: Path, folder: Path, size: tuple[int, int], keys: list[str]) -> None:
    """Open the screen at a size, press keys, and save what it shows as SVG."""
    app = TriageApp(Session.open(session))
    async with app.run_test(size=size) as pilot:
        await asyncio.sleep(SETTLE_S)
        for key in keys:
            await pilot.press(key)
            await asyncio.sleep(0.7)
        await asyncio.sleep(SETTLE_S)
        name = f"screen-{size[0]}x{size[1]}.svg"
        drawn = app.export_screenshot(title=f"photon-triage {size[0]}x{size[1]}")
        (folder / name).write_text(FONT_FACE.sub("", drawn))


def main() -> None:
    """Make all pictures."""
    session, folder, *keys = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        asyncio.run(picture(Path(session), Path(folder), size, keys))


if __name__ == "__main__":
    main()
