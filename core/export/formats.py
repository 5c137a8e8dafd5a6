"""The formats of lists, in one table: for the command's help, for the screen, and for what writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from photon_triage.core.export.list_content import ListContent
    from photon_triage.core.recipe import Recipe

Writer = Callable[["ListContent", Path], dict[str, Any]]
"""Writes a list to a path, a file or an empty folder; returns what the .json beside it says of this format."""


@dataclass(frozen=True, slots=True)
class ListFormat:
    """One format of a list.

    name: as in --format. title: what it is, in a few words. suffix: of its file, "" for a folder. writer: its function
    in this package, as "module:function". lists: "frames", "candidates", or "both" for what the session lists. each:
    one list an input file, so that with several of them the output is a folder. scores: whether it can carry scores.
    needs: what the recipe must have made, "" where nothing.
    """

    name: str
    title: str
    suffix: str
    writer: str
    lists: Literal["frames", "candidates", "both"] = "frames"
    each: bool = False
    scores: bool = True
    needs: Literal["", "masks", "boxes"] = ""

    def load(self) -> Writer:
        """The function that writes it."""
        module, function = self.writer.split(":")
        loaded: Writer = getattr(import_module(f"{__package__}.{module}"), function)
        return loaded

    @property
    def hides_poor_ones(self) -> bool:
        """Whether what scores below the threshold could not be told from the rest in it."""
        return not self.scores and (self.lists == "candidates" or self.needs == "boxes")

    def misfit(self, recipe: Recipe) -> str:
        """Why a session with this recipe has nothing for this format; "" where it has."""
        if self.lists == "candidates" and recipe.patches is None:
            return "lists frames, and no stage of it searches for candidates"
        if self.needs == "masks" and recipe.segment is None:
            return "has no stage that segments, so there are no masks"
        if self.needs == "boxes" and recipe.classify is None and recipe.patches is None:
            return "has no stage that finds boxes or candidates"
        return ""


_TABLE = (
    ListFormat("crystfel", "CrystFEL event list, PATH //INDEX", ".lst", "frame_lists:write_crystfel", scores=False),
    ListFormat("csv", "table with every score, measure and label", ".csv", "table:write", "both"),
    ListFormat("parquet-csv", "the same table, one type a column, for Parquet", ".csv", "table:write_typed", "both"),
    ListFormat(
        "dragonfly", "Dragonfly's indices, h5toemc -s", ".txt", "frame_lists:write_indices", each=True, scores=False
    ),
    ListFormat(
        "dragonfly-vector", "the same as 0 or 1 a frame", ".txt", "frame_lists:write_vector", each=True, scores=False
    ),
    ListFormat("spi-cxi", "frames as CXI for spi_em_class, virtual or --copy", ".cxi", "spi_cxi:write"),
    ListFormat(
        "cheetah", "OM's and Cheetah's frames.txt and cleaned.txt", "", "frame_lists:write_cheetah", scores=False
    ),
    ListFormat("relion", "RELION STAR, 2-D and 3-D", ".star", "particle_lists:write_relion", "candidates"),
    ListFormat("eman", "EMAN .box, 2-D", ".box", "particle_lists:write_eman", "candidates", each=True, scores=False),
    ListFormat("cryolo", "crYOLO .cbox, 2-D and 3-D", ".cbox", "particle_lists:write_cryolo", "candidates", each=True),
    ListFormat("topaz", "Topaz table, 2-D", ".txt", "particle_lists:write_topaz", "candidates"),
    ListFormat("imod", "IMOD model, 2-D and 3-D", ".mod", "imod:write_model", "candidates", each=True),
    ListFormat(
        "imod-points", "IMOD point text, x y z", ".txt", "imod:write_points", "candidates", each=True, scores=False
    ),
    ListFormat(
        "mask-tiff", "masks as a TIFF stack", ".tif", "mask_files:write_tiff", each=True, scores=False, needs="masks"
    ),
    ListFormat("mask-hdf5", "masks as HDF5", ".h5", "mask_files:write_hdf5", each=True, needs="masks"),
    ListFormat("yolo", "data set to train YOLO on", "", "yolo:write", "both", scores=False, needs="boxes"),
)

FORMATS: dict[str, ListFormat] = {each.name: each for each in _TABLE}


def fitting(recipe: Recipe) -> tuple[ListFormat, ...]:
    """The formats for which a session with this recipe has something."""
    return tuple(each for each in _TABLE if not each.misfit(recipe))
