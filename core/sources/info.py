"""What was found in a detector file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from photon_triage.core.frames import Geometry


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What one look into a file told.

    path: absolute real path. format: "HDF5" or "TIFF". layout: the convention that was recognised. dataset: "" for
    TIFF; a group where its members data_000001, data_000002 ... are one stack. frames: the length of the data set.
    available: frames 0 .. available-1 hold what the detector wrote. complete: nothing more is expected; where then
    available < frames, the frames beyond are partly missing, and reading a missing one raises NotYetError.
    shape: (height, width). dtype: numpy name, native byte order. mask: path of the mask's data set. missing: what the
    file links to and is not there. proven: the file itself says of each available frame that it is written; where it
    does not, the last one may be written just now.
    """

    path: str
    format: str
    layout: str
    dataset: str
    frames: int
    available: int
    complete: bool
    shape: tuple[int, int]
    dtype: str
    compression: str
    mask: str | None
    geometry: Geometry
    simulated: bool
    run: str
    missing: tuple[str, ...] = ()
    proven: bool = False

    def to_json(self) -> dict[str, Any]:
        """These facts as what JSON can carry."""
        return asdict(self)

    @staticmethod
    def from_json(facts: dict[str, Any]) -> SourceInfo:
        """The inverse of `to_json`."""
        height, width = facts["shape"]
        told = {"shape": (height, width), "geometry": Geometry(**facts["geometry"]), "missing": tuple(facts["missing"])}
        return SourceInfo(**{**facts, **told})
