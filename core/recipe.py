"""The recipe: a TOML file that says how frames become decisions."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Geometry, Window
from photon_triage.core.recipe_errors import complaints

MOST_DOTS = 200
"""In a line of a recipe."""
SHIPPED = Path(__file__).parent / "recipes"
Unit = Literal["frames", "candidates"]


class _RecipeTable(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Roi(_RecipeTable):
    """A region of interest in pixels of the whole frame: first row, first column, height, width."""

    top: int = Field(ge=0)
    left: int = Field(ge=0)
    height: int = Field(ge=1)
    width: int = Field(ge=1)

    @property
    def rows(self) -> slice:
        """The rows of the frame inside."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """The columns of the frame inside."""
        return slice(self.left, self.left + self.width)


class SourceTable(_RecipeTable):
    """Where the frames are, if the layout alone does not tell, and in which order they are read."""

    dataset: str | None = None
    order: Literal["latest", "complete"] | None = None
    """The newest frames first, those passed over later; or file after file. Left open: `latest` for watch, `complete`
    for scan."""
    roots: tuple[str, ...] = ()
    """Folders, beside a file's own, to which its links may lead."""


class GeometryTable(_RecipeTable):
    """The geometry to use where a file tells none: eV, m, pixels of the whole frame."""

    photon_energy_ev: float | None = Field(default=None, gt=0)
    detector_distance: float | None = Field(default=None, gt=0)
    pixel_size: float | None = Field(default=None, gt=0)
    beam_center_x: float | None = None
    beam_center_y: float | None = None

    def geometry(self) -> Geometry:
        """The same as a plain value."""
        return Geometry(**self.model_dump())


class PrepareTable(_RecipeTable):
    """How a frame becomes a network's input: mask and dark, ROI, scale, colour, fit."""

    roi: Roi | None = None
    mask: str | None = None
    """Path of an HDF5, TIFF or NumPy file with a mask (nonzero: bad pixel), beside the one in the data."""
    dark: str | None = None
    """Path of a dark frame that is subtracted."""
    scale: Literal["linear", "log"] = "log"
    full_scale: float | None = Field(default=None, gt=0)
    """Counts that become 1; left open, each frame's largest value does."""
    colour: Literal["grey", "jet"] = "grey"
    fit: Literal["letterbox", "stretch"] = "stretch"


class AlarmsTable(_RecipeTable):
    """When the engine raises an alarm; 0 turns one off."""

    rate_fall: float = Field(default=0.5, ge=0, lt=1)
    """Part by which the hit rate must have fallen against the run's past, beyond what chance explains."""
    rate_window_s: float = Field(default=60.0, ge=5)
    """Seconds that count as now."""
    files_stop_s: float = Field(default=300.0, ge=0)
    """Seconds without a new frame."""
    disk_free_gb: float = Field(default=5.0, ge=0)
    """Gigabytes that must be left on the session's disk and on those of the data."""
    disk_full_min: float = Field(default=30.0, ge=0)
    """Minutes until such a disk is full, if it goes on filling."""
    drift_psi: float = Field(default=0.25, ge=0)
    """Population stability index of the newest scores against the session's first, from which they have drifted."""
    command: tuple[str, ...] = ()
    """Words of a command that is run for each alarm, its text as the last word; no shell is asked."""


class LitPixelsStage(_RecipeTable):
    """Hit finding for single particles: enough lit pixels and photons in the region of interest."""

    kind: Literal["lit-pixels"]
    roi: Roi | None = None
    """Where to count; left open, the preparation's."""
    photon_threshold: float = Field(default=1.0, gt=0)
    """Counts from which a pixel is lit."""
    min_lit_pixels: int = Field(default=0, ge=0)
    min_photons: float = Field(default=0.0, ge=0)
    signal_radius: float | None = Field(default=None, gt=0)
    """Pixels from the beam within which a particle scatters; the rest of the region tells the frame's background."""
    min_excess_photons: float = Field(default=0.0, ge=0)
    """Photons within signal_radius above that background."""


class SpotsStage(_RecipeTable):
    """Hit finding for crystals: enough spots above the local background."""

    kind: Literal["spots"]
    min_spots: int = Field(default=10, ge=1)
    min_counts: float = Field(default=5.0, ge=0)
    min_snr: float = Field(default=4.0, gt=0)
    window: int = Field(default=11, ge=3)
    min_pixels: int = Field(default=3, ge=1, le=9)


class SizeStage(_RecipeTable):
    """Size filtering: the diameter of the sphere whose form factor fits the radial profile best."""

    kind: Literal["size"]
    min_diameter_nm: float = Field(gt=0)
    max_diameter_nm: float = Field(gt=0)
    min_quality: float = Field(default=0.0, ge=0, le=1)
    roi: Roi | None = None

    @model_validator(mode="after")
    def _window_is_open(self) -> SizeStage:
        if self.min_diameter_nm >= self.max_diameter_nm:
            raise ValueError(
                f"min_diameter_nm ({self.min_diameter_nm:g}) must be below max_diameter_nm ({self.max_diameter_nm:g})"
            )
        return self


class ClassifyStage(_RecipeTable):
    """Single-hit classification by a Darknet network."""

    kind: Literal["classify"]
    model: str
    """Name of a shipped model or of one in the session, or the path of a .safetensors file."""
    threshold: float = Field(default=0.5, ge=0, le=1)


class SegmentStage(_RecipeTable):
    """Segmentation by an MS-D network or a U-Net: the class of every pixel."""

    kind: Literal["segment"]
    model: str
    """Name of a shipped model or of one in the session, or the path of a .safetensors file."""
    tile: int | None = Field(default=None, ge=64)
    """Side in pixels of the tiles that frames are computed in, where a whole one does not fit into memory."""
    min_foreground: float = Field(default=0.0, ge=0, le=1)
    """Part of the pixels that must not be background for the frame to pass."""


class PatchesStage(_RecipeTable):
    """The search for small objects: a LeNet looks at the patch about every pixel; its score's peaks are candidates."""

    kind: Literal["patches"]
    model: str
    """Name of a shipped model or of one in the session, or the path of a .safetensors file."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Score from which a candidate is selected."""
    listed_from: float = Field(default=0.1, gt=0, le=1)
    """Score from which a peak is listed as a candidate."""
    min_distance: float = Field(default=25.0, ge=1)
    """Pixels within which only the highest peak counts."""
    within: str | None = None
    """Class of the segmentation to search in; left open, the whole frame."""
    margin: int = Field(default=0, ge=0)
    """Pixels by which that class is widened."""
    max_candidates: int = Field(default=200, ge=1)
    """Candidates a frame at most, the best ones."""


AnyStage = LitPixelsStage | SpotsStage | SizeStage | ClassifyStage | SegmentStage | PatchesStage


Stage = Annotated[AnyStage, Field(discriminator="kind")]


NetworkStage = ClassifyStage | SegmentStage | PatchesStage


class Recipe(_RecipeTable):
    """How frames become decisions: source, geometry, preparation and the stages in their order."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    title: str = ""
    source: SourceTable = SourceTable()
    geometry: GeometryTable = GeometryTable()
    prepare: PrepareTable = PrepareTable()
    alarms: AlarmsTable = AlarmsTable()
    powder: bool | None = None
    """Whether hits and misses are added up to a virtual powder; left open, where frames are counts, not images."""
    stages: tuple[Stage, ...] = Field(min_length=1)

    @property
    def classify(self) -> ClassifyStage | None:
        """The stage that asks a network, if there is one."""
        return next((stage for stage in self.stages if isinstance(stage, ClassifyStage)), None)

    @property
    def segment(self) -> SegmentStage | None:
        """The stage that tells each pixel's class, if there is one."""
        return next((stage for stage in self.stages if isinstance(stage, SegmentStage)), None)

    @property
    def patches(self) -> PatchesStage | None:
        """The stage that searches frames for candidates, if there is one."""
        return next((stage for stage in self.stages if isinstance(stage, PatchesStage)), None)

    @property
    def networks(self) -> tuple[NetworkStage, ...]:
        """The stages that ask a network, in their order."""
        return tuple(stage for stage in self.stages if isinstance(stage, ClassifyStage | SegmentStage | PatchesStage))

    @property
    def reads_images(self) -> bool:
        """Whether frames are images whose grey values mean something at any sign, not detector counts."""
        return self.segment is not None or self.patches is not None

    @property
    def window(self) -> Window | None:
        """The part of a frame that the stages look at, None where one of them looks at all of it."""
        rois = [getattr(stage, "roi", None) or self.prepare.roi for stage in self.stages]
        if any(isinstance(stage, SpotsStage) for stage in self.stages) or None in rois:
            return None
        slices = [(roi.rows, roi.columns) for roi in rois if roi is not None]
        top, left = min(rows.start for rows, _ in slices), min(columns.start for _, columns in slices)
        bottom, right = max(rows.stop for rows, _ in slices), max(columns.stop for _, columns in slices)
        return Window(top, left, bottom - top, right - left)

    @property
    def grows_powder(self) -> bool:
        """Whether the engine adds frames up to a virtual powder."""
        return not self.reads_images if self.powder is None else self.powder

    @property
    def unit(self) -> Unit:
        """What is listed and decided on: candidates where a stage searches for them, else frames."""
        return "candidates" if self.patches else "frames"

    @property
    def label_radius(self) -> float:
        """Pixels within which a label belongs to a candidate; 0 where frames are listed."""
        return self.patches.min_distance if self.patches else 0.0

    @property
    def scores_frames(self) -> bool:
        """Whether a stage gives frames a score, so that a threshold selects some."""
        return any(not isinstance(stage, LitPixelsStage | SizeStage) for stage in self.stages)

    @property
    def stages_before_network(self) -> int:
        """How many stages a frame must pass to be shown to the first network; all of them where there is none."""
        return self.stages.index(self.networks[0]) if self.networks else len(self.stages)

    @property
    def default_threshold(self) -> float:
        """The score from which a frame or candidate is selected before the operator says otherwise."""
        stage = self.patches or self.classify
        return stage.threshold if stage else 0.5

    @model_validator(mode="after")
    def _stages_fit(self) -> Recipe:
        kinds = [stage.kind for stage in self.networks]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each kind of network may stand in the stages once, got {', '.join(kinds)}")
        if self.patches and self.classify:
            raise ValueError("patches and classify may not stand in one recipe: one lists candidates, one frames")
        patches = self.patches
        if patches and patches.within and "segment" not in kinds[: kinds.index("patches")]:
            raise ValueError(f"patches searches within {patches.within!r}, so a segment stage must stand before it")
        return self


_STAGES: dict[str, type[BaseModel]] = {
    "lit-pixels": LitPixelsStage,
    "spots": SpotsStage,
    "size": SizeStage,
    "classify": ClassifyStage,
    "segment": SegmentStage,
    "patches": PatchesStage,
}


_TABLES: dict[str, type[BaseModel]] = {
    "source": SourceTable,
    "geometry": GeometryTable,
    "prepare": PrepareTable,
    "alarms": AlarmsTable,
    "roi": Roi,
}


def shipped_recipes() -> dict[str, Path]:
    """Name and path of every recipe that comes with the package."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def recipe_text(name_or_path: str) -> str:
    """The text of a shipped recipe, or of a recipe file.

    Raises RecipeError where there is neither.
    """
    shipped = shipped_recipes()
    path = shipped.get(name_or_path, Path(name_or_path))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RecipeError(
            f"Could not read the recipe {name_or_path!r}: {reason}.",
            f"Shipped recipes are {', '.join(shipped)}; anything else is taken as the path of a TOML file.",
        ) from error


def with_roots(text: str, roots: Sequence[Path]) -> str:
    """The text of a recipe with folders to which links may lead; RecipeError where it names some itself."""
    if re.search(r"^\s*roots\s*=", text, re.MULTILINE):
        raise RecipeError("Could not add folders to the recipe: it names roots itself.", "Add them there.")
    line = f"roots = {json.dumps([str(root.expanduser().absolute()) for root in roots], ensure_ascii=False)}\n"
    table = re.search(r"^\[source\].*\n", text, re.MULTILINE)
    if table is None:
        return f"{text.rstrip()}\n\n[source]\n{line}"
    return f"{text[: table.end()]}{line}{text[table.end() :]}"


def parse_recipe(text: str, origin: str) -> Recipe:
    """The recipe that a TOML text holds; `origin` names it in errors.

    Raises RecipeError that names the line and the allowed values.
    """
    # A key of many parts takes the square of their number to read.
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise RecipeError(f"Could not read the recipe {origin}: a line has more than {MOST_DOTS} dots.", "Break it up.")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"Could not read the recipe {origin}: {error}.", "Recipes are TOML 1.0.") from error
    except RecursionError:
        raise RecipeError(f"Could not read the recipe {origin}: it is nested too deeply.", "See `recipes`.") from None
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(
            f"Could not use the recipe {origin}: {'; '.join(complaints(text, error, Recipe, _TABLES, _STAGES))}.",
            "`photon-triage recipes --show spi` prints a complete one.",
        ) from error


def load_recipe(name_or_path: str) -> Recipe:
    """The shipped recipe of that name, or the one in that file."""
    return parse_recipe(recipe_text(name_or_path), name_or_path)
