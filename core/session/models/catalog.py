"""The models that a session can use, shipped or trained in it, and those in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from photon_triage.core.common.containment import open_binary, parse_json, read_bytes, regular_files
from photon_triage.core.common.errors import SessionError
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.decisions.commands import CommandFollower
from photon_triage.core.session.session import Session
from photon_triage.models.common.input_files import open_regular, read_regular

LARGEST_HEADER = 2**24
"""Bytes of a safetensors file's header that are read: names and shapes of a hundred thousand tensors."""

STAGE_OF_FAMILY = {"darknet": "classify", "msd": "segment", "unet": "segment", "lenet": "patches", "radial": "classify"}
"""The kind of stage that a network of each family of architectures serves."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model on disk: name, file, where it comes from ("shipped", "session", "file") and its metadata."""

    name: str
    path: Path
    origin: str
    metadata: dict[str, Any]

    @property
    def family(self) -> str:
        """The registry's name of its architecture, "" where its metadata tell none."""
        architecture = self.metadata.get("architecture")
        return str(architecture.get("family", "")) if isinstance(architecture, dict) else ""

    @property
    def stage(self) -> str | None:
        """The kind of stage that it serves, None where its architecture tells of none."""
        return STAGE_OF_FAMILY.get(self.family)

    @property
    def evaluated_on(self) -> str:
        """What its scores were measured on, in words; "" where it has none."""
        return evaluated_on(self.metadata)


def evaluated_on(metadata: Mapping[str, Any]) -> str:
    """What the scores in a model's metadata were measured on, in words; "" where there are none."""
    data = metadata.get("data")
    told = data if isinstance(data, dict) else {}
    if not metadata.get("scores"):
        return ""
    unnamed = "simulated data held out of training" if told.get("simulated") else "data that its record does not name"
    return str(told.get("evaluated_on") or unnamed)


def shipped_models() -> dict[str, ModelEntry]:
    """The models that come with the package, by name."""
    folder = Path(str(files("photon_triage.models"))) / "weights"
    return _entries(folder.glob("*.safetensors"), "shipped", None)


def session_models(folder: Path) -> dict[str, ModelEntry]:
    """The models that were trained in a session, by name; of one name, the newest.

    An entry of the folder that is no regular file, or lies outside of the session, is left out and reported.
    """
    return _entries(regular_files(folder, folder.parent, suffix=".safetensors"), "session", folder.parent)


def find_model(name: str, folder: Path | None = None) -> ModelEntry:
    """The model of that name in a session's folder, else a shipped one, else the file of that path.

    Raises SessionError that names what there is.
    """
    known = shipped_models() | (session_models(folder) if folder else {})
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.suffix == ".safetensors" and path.is_file():
        return ModelEntry(path.stem, path, "file", _metadata(path, None))
    raise SessionError(
        f"Could not find a model named {name!r}.",
        f"There are: {', '.join(sorted(known)) or 'none'}; the path of a .safetensors file is taken too.",
        title="No such model",
    )


def models_in_use(session: Session) -> dict[str, str]:
    """The model of each kind of stage: the recipe's, else the last one that was asked for and is there."""
    in_use: dict[str, str] = {table.kind: table.model for table in session.recipe().networks}
    for name in CommandFollower(session.journal_path).wishes().models:
        try:
            kind = stage_for(session, name)
        except SessionError:  # it is gone, or never fitted: no engine uses it
            continue
        in_use[kind] = name
    return in_use


def stage_for(session: Session, model: str) -> str:
    """The kind of stage of the session's recipe that a model serves.

    Raises SessionError where there is no such model or no such stage.
    """
    return stage_of(session.recipe(), find_model(model, session.models_path))


def stage_of(recipe: Recipe, entry: ModelEntry) -> str:
    """The kind of stage of a recipe that a model serves; raises SessionError where the recipe has none."""
    kinds = [table.kind for table in recipe.networks]
    if entry.stage in kinds:
        return str(entry.stage)
    served = f"serves a {entry.stage} stage" if entry.stage else "serves no stage of a recipe"
    network = f"its network ({entry.family})" if entry.family else "its file does not name its network, which"
    raise SessionError(
        f"Could not use {entry.name}: {network} {served}, and the recipe {recipe.name} has no stage for it.",
        f"Choose a model for {_one_of(kinds)}; `photon-triage models list SESSION` shows the network of each."
        if kinds
        else "Begin a session with a recipe that asks a network, such as spi, cryoet or tomo.",
        title="Model does not fit",
    )


def scored_as(session: Session, model: str, in_use: Mapping[str, str] | None = None) -> str:
    """The name under which results hold what is scored with a model in its stage, beside the others in use."""
    in_use = models_in_use(session) if in_use is None else in_use
    return joint_name({**in_use, stage_for(session, model): model})


def joint_name(models: Mapping[str, str]) -> str:
    """The names of all models in use as one, by which results tell who made them."""
    return " + ".join(models.values())


def _entries(paths: Iterable[Path], origin: str, root: Path | None) -> dict[str, ModelEntry]:
    found = {}
    for path in sorted(paths, key=_changed):
        metadata = _metadata(path, root)
        name = str(metadata.get("name", path.stem))
        found[name] = ModelEntry(name, path, origin, metadata)
    return found


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # removed just now
        return 0


def _metadata(path: Path, root: Path | None) -> dict[str, Any]:
    """What a checkpoint says of itself in its header, else in the `.json` beside it; {} where neither can be read.

    root: the session that it is to lie in, None for a file that a user names or that is shipped.
    """
    for read in (_from_header, _from_beside):
        try:
            loaded = parse_json(read(path, root))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(loaded, dict):
            return loaded
    return {}


def _from_beside(path: Path, root: Path | None) -> bytes:
    beside = path.with_suffix(".json")
    return read_regular(beside, LARGEST_HEADER) if root is None else read_bytes(beside, root, LARGEST_HEADER)


def _from_header(path: Path, root: Path | None) -> str:
    """The metadata in the header of a safetensors file: its length in 8 bytes, then JSON; torch is not needed."""
    with open(open_regular(path), "rb") if root is None else open_binary(path, root) as file:  # noqa: PTH123
        length = int.from_bytes(file.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError("not a safetensors file")
        header = parse_json(file.read(length))
    return str(header["__metadata__"]["photon_triage"])


def _one_of(kinds: Sequence[str]) -> str:
    return " or ".join(f"a {kind} stage" for kind in kinds)
