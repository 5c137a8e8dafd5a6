"""Where the frames of an HDF5 file were found, so that they need not be looked for again at each read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Member:
    """A data set of a stack. file: real path. dataset: path in that file. length: along the axis that counts frames."""

    file: str
    dataset: str
    length: int


@dataclass(frozen=True, slots=True)
class StackLayout:
    """The data sets of a stack, and the axes that they have in common.

    signature: that of the named file when it was looked into (see FileState). shape, dtype: those of the first member,
    dtype as NumPy's string with byte order. frames, tiles, fixed, rows, columns: see View. images: which images of the
    only member are frames, as ranges, None for all. cuts: whether reading a window of a frame saves work.
    """

    signature: tuple[int, int, int, int]
    shape: tuple[int, ...]
    dtype: str
    frames: tuple[int, ...]
    tiles: tuple[int, ...]
    fixed: tuple[Range, ...]
    rows: int
    columns: int
    members: tuple[Member, ...]
    images: tuple[Range, ...] | None
    cuts: bool

    def to_json(self) -> dict[str, Any]:
        """The layout as what JSON can carry."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        return facts | {"members": [(one.file, one.dataset, one.length) for one in self.members]}

    @staticmethod
    def from_json(facts: dict[str, Any]) -> StackLayout:
        """The inverse of `to_json`."""
        first, second, third, fourth = facts["signature"]
        pairs = facts["images"]
        return StackLayout(
            signature=(first, second, third, fourth),
            shape=tuple(facts["shape"]),
            dtype=facts["dtype"],
            frames=tuple(facts["frames"]),
            tiles=tuple(facts["tiles"]),
            fixed=tuple((axis, index) for axis, index in facts["fixed"]),
            rows=facts["rows"],
            columns=facts["columns"],
            members=tuple(Member(*member) for member in facts["members"]),
            images=None if pairs is None else tuple((low, high) for low, high in pairs),
            cuts=facts["cuts"],
        )
