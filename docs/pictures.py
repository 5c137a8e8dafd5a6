"""Make pictures of the screen from a session: pictures.py SESSION FOLDER [KEY...], one at each size.

`--name sheet --sizes 120x40 SESSION FOLDER c` makes one of the contact sheet.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path

from photon_triage.core.session.session import Session
from photon_triage.tui.app import TriageApp

SETTLE_S = 3.0
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""Fonts from elsewhere: a picture must not fetch anything."""


async def picture(session: Path, path: Path, size: tuple[int, int], keys: list[str]) -> None:
    """Open the screen at a size, press keys, and save what it shows as SVG."""
    app = TriageApp(Session.open(session))
    async with app.run_test(size=size) as pilot:
        await asyncio.sleep(SETTLE_S)
        for key in keys:
            await pilot.press(key)
            await asyncio.sleep(0.7)
        await asyncio.sleep(SETTLE_S)
        drawn = app.export_screenshot(title=f"photon-triage {size[0]}x{size[1]}")
        path.write_text(FONT_FACE.sub("", drawn))


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="screen", help="how the files begin")
    parser.add_argument("--sizes", default="80x24,120x40,200x60")
    parser.add_argument("session", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("keys", nargs="*", help="keys to press before")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for size in options.sizes.split(","):
        width, height = map(int, size.split("x"))
        path = options.folder / f"{options.name}-{size}.svg"
        asyncio.run(picture(options.session, path, (width, height), options.keys))


if __name__ == "__main__":
    main()
