"""Colour maps: perceptual ones, in which equal steps of signal look equal, grey, and "jet" for who is used to it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_STOPS = {
    "grey": "000000 ffffff",
    "viridis": (
        "440154 471164 482071 472e7c 443b84 3f4889 3a548c 34608d 2f6c8e 2a768e 26818e 228b8d "
        "1f958b 1fa088 24aa83 2fb47c 42be71 58c765 70cf57 8bd646 a8db34 c5e021 e2e418 fde725"
    ),
    "magma": (
        "000004 060518 110c2f 1e1149 2f1163 420f75 54137d 651a80 782281 892881 9b2e7f ad347c "
        "bf3a77 d0416f e04c67 ed5a5f f66e5c fb835f fd9869 feac76 fec185 fed597 fde9aa fcfdbf"
    ),
    "cividis": (
        "00224e 002a61 003171 1c396f 2d416d 3a486c 45506c 50576c 5b606e 656870 6e6f73 777777 "
        "817f78 8c8878 969077 a19975 ada272 b9ab6d c4b468 d0be62 dcc859 e8d24f f5dc41 fee838"
    ),
    "jet": "000080 0000ff 0080ff 00ffff 80ff80 ffff00 ff8000 ff0000 800000",
}
"""Colours at equal distances. viridis, magma: van der Walt, Smith 2015; cividis: Nuñez, Anderton, Renslow 2018."""
MAPS = tuple(_STOPS)


@cache
def _stops(name: str) -> NDArray[np.float64]:
    return np.array([list(bytes.fromhex(stop)) for stop in _STOPS[name].split()], dtype=float)


def colour_at(name: str, value: float) -> tuple[float, float, float]:
    """Red, green and blue in [0, 255] of a value in [0, 1]."""
    stops = _stops(name)
    at = value * (len(stops) - 1)
    red, green, blue = (float(np.interp(at, np.arange(len(stops)), stops[:, channel])) for channel in range(3))
    return red, green, blue
