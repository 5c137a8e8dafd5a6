"""The EM-based reference: frames sorted into classes by spi_em_class, and the classes that are selected.

Source: spi_em_class 0.1.7 (pypi.org/project/spi-em-class), after Loh & Elser 2009 in two dimensions: each class is a
pattern, each frame a class and a rotation about the beam. Its tools read CXI files and run on one machine's cores by
numba; no MPI is needed.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import LARGEST_TABLE, make_folder, open_text
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.text_safety import csv_lines, plain_cell
from photon_triage.core.compare.lists import LoadedList
from photon_triage.core.embedding.frame_reader import RegionReader, evenly, reaching
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import preparation_for
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.training.data.examples import beam_in_region

WORKER = "photon_triage.core.compare.em_worker"
TITLE = "EM classification not possible"
Note = Callable[[int, int], None]

FOLDER, CLASSES, SETTINGS = "em", "classes.csv", "settings.json"
BY_LABELS, BY_ORACLE = "EM, classes by labels", "EM, classes by an oracle"


@dataclass(frozen=True)
class EmSettings:
    """What spi_em_class is told. q_min, q_max: radii in pixels of the frame. binning: pixels that are added up a side.

    friedel: every pixel counts for its opposite too. log: logarithms of counts. most: frames, spread over all.
    """

    classes: int = 20
    rotations: int = 72
    iterations: int = 15
    q_min: int = 10
    q_max: int = 115
    binning: int = 3
    friedel: bool = True
    log: bool = True
    most: int = 5000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Sorted:
    """Frames and their classes, from 1 on, (n,); mutual_information of frames and classes after each iteration."""

    keys: tuple[FrameKey, ...]
    classes: NDArray[np.int64]
    mutual_information: tuple[float, ...]
    unreadable: int


def sort_frames(session: Session, settings: EmSettings, note: Note = lambda done, planned: None) -> Sorted:
    """Sort the frames that reach the network into classes; `note(done, planned)` is called after each iteration.

    Raises SessionError where spi_em_class is not installed, or fails, or where the beam's centre is unknown.
    """
    if find_spec("spi_em_class") is None:
        raise SessionError(
            "Could not sort frames by EM: spi_em_class is not installed.",
            'Install it: pip install "photon-triage[em]".',
            title=TITLE,
        )
    with tempfile.TemporaryDirectory(prefix="photon-triage-em-") as scratch:
        folder = Path(scratch)
        keys, unreadable = _write_frames(session, settings.most, folder / "frames.cxi")
        information = run_worker(folder, settings, note)
        classes = np.load(folder / "classes.npy", allow_pickle=False)
    if len(classes) != len(keys):
        raise SessionError(f"Could not sort frames by EM: of {len(keys)} frames {len(classes)} came back.", title=TITLE)
    return Sorted(tuple(keys), classes.astype(np.int64), tuple(information), unreadable)


def run_worker(folder: Path, settings: EmSettings, note: Note) -> list[float]:
    """Run the worker to its end; returns what each iteration reports."""
    from spi_em_class import config

    config.save_config(
        str(folder / "em.h5"),
        {
            "best_proba": False, "binning": settings.binning, "cxi_file": str(folder / "frames.cxi"),
            "friedel": settings.friedel, "logscale": settings.log, "num_class": settings.classes,
            "num_rot": settings.rotations, "q_max": settings.q_max, "q_min": settings.q_min,
        },
    )  # fmt: skip
    command = [sys.executable, "-P", "-m", WORKER, str(folder / "em.h5"), str(settings.iterations), str(settings.seed)]
    environment = os.environ | {"NUMBA_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1))}
    information: list[float] = []
    with (
        (folder / "stderr").open("w+b") as complaints,
        subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=environment
        ) as worker,
    ):
        try:
            assert worker.stdout is not None
            for line in worker.stdout:
                told = json.loads(line)
                information.append(float(told["mutual_information"]))
                note(int(told["done"]), settings.iterations)
        except BaseException:
            worker.kill()
            raise
    if worker.returncode:
        lines = (folder / "stderr").read_text(encoding="utf-8", errors="backslashreplace").strip().splitlines()
        raise SessionError(
            f"Could not sort frames by EM: spi_em_class ended with {worker.returncode}: {(lines or ['no word'])[-1]}.",
            "Fewer --classes, --rotations or --most need less memory; q in pixels must lie within the region.",
            title=TITLE,
        )
    return information


def chosen_by_labels(classes: Mapping[FrameKey, int], labels: Mapping[FrameKey, bool]) -> frozenset[int]:
    """The classes of whose labelled frames more are accepted than rejected."""
    votes: dict[int, int] = {}
    for key, accepted in labels.items():
        if key in classes:
            votes[classes[key]] = votes.get(classes[key], 0) + (1 if accepted else -1)
    return frozenset(number for number, vote in votes.items() if vote > 0)


def chosen_by_oracle(classes: Mapping[FrameKey, int], truth: Mapping[FrameKey, bool]) -> frozenset[int]:
    """The classes that together have the highest F1 for that truth: an upper bound of what choosing classes can reach.

    They are those of the highest precision, as many as are best: a class raises F = 2 TP / (selected + positive) to no
    more than F if and only if its precision is at least F / 2.
    """
    positives = sum(truth.values())
    found: dict[int, list[int]] = {}
    for key, accepted in truth.items():
        if key in classes:
            counts = found.setdefault(classes[key], [0, 0])
            counts[0] += accepted
            counts[1] += 1
    best, chosen, hits, selected = 0.0, frozenset[int](), 0, 0
    ranked = sorted(found, key=lambda number: (-found[number][0] / found[number][1], number))
    for count, number in enumerate(ranked, 1):
        hits, selected = hits + found[number][0], selected + found[number][1]
        f1 = 2 * hits / (selected + positives)
        if f1 > best:
            best, chosen = f1, frozenset(ranked[:count])
    return chosen


def of_classes(classes: Mapping[FrameKey, int], chosen: Set[int]) -> frozenset[FrameKey]:
    """The frames of some classes."""
    return frozenset(key for key, number in classes.items() if number in chosen)


@dataclass(frozen=True)
class ClassRow:
    """A class: its frames, how many of them are labelled, how many of those accepted, and who would select it."""

    number: int
    frames: int
    labelled: int
    accepted: int
    by_labels: bool
    by_oracle: bool


def save_sorted(session: Session, found: Sorted, settings: EmSettings) -> Path:
    """Write the class of every frame as a table, and beside it how it was made; returns the table's path."""
    folder = session.path / FOLDER
    rows = [(key.file, key.dataset, str(key.index), str(number)) for key, number in zip(
        found.keys, found.classes.tolist(), strict=True
    )]  # fmt: skip
    facts: dict[str, Any] = {"settings": asdict(settings), "mutual_information": list(found.mutual_information)}
    facts |= {"frames": len(found.keys), "unreadable": found.unreadable}
    try:
        make_folder(folder, session.path)
        with atomic_file(folder / SETTINGS) as file:
            file.write((json.dumps(facts, indent=2) + "\n").encode())
        with atomic_file(folder / CLASSES) as file:
            file.writelines(csv_lines([("file", "dataset", "index", "class"), *rows]))
    except OSError as error:
        raise SessionError(
            f"Could not keep the classes in {folder}: {error.strerror or error}.", "Make room there, and sort again."
        ) from error
    return folder / CLASSES


def load_classes(session: Session) -> dict[FrameKey, int]:
    """The class of every frame that was sorted; raises SessionError where none was, or the table cannot be read."""
    path = session.path / FOLDER / CLASSES
    try:
        with open_text(
            path, session.path, LARGEST_TABLE, newline="", encoding="utf-8", errors="surrogateescape"
        ) as file:
            return {
                FrameKey(plain_cell(row["file"]), plain_cell(row["dataset"]), int(row["index"])): int(row["class"])
                for row in csv.DictReader(file)
            }
    except FileNotFoundError:
        raise SessionError(
            f"Could not compare with EM in {session.path}: no frame was sorted yet.",
            "Sort them first: `photon-triage em SESSION`.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise SessionError(
            f"Could not read the classes in {path}: {error}.", "Sort anew: `photon-triage em SESSION`."
        ) from error


def em_lists(session: Session) -> tuple[list[LoadedList], list[ClassRow]]:
    """Two selections, of classes that labels and that an oracle would choose, and all classes, the purest first.

    Labels of the audit judge and choose nothing. The oracle knows all labels: it is a bound, not a method.
    """
    classes = load_classes(session)
    labels = {key: label for key, label in session.labels().labels.items() if label.verdict != "skipped"}
    truth = {key: label.verdict == "accepted" for key, label in labels.items()}
    choosing = {key: accepted for key, accepted in truth.items() if labels[key].queue != AUDIT}
    by_labels, by_oracle = chosen_by_labels(classes, choosing), chosen_by_oracle(classes, truth)
    members: dict[int, list[FrameKey]] = {}
    for key, number in classes.items():
        members.setdefault(number, []).append(key)
    rows = [
        ClassRow(
            number,
            len(keys),
            sum(key in truth for key in keys),
            sum(truth.get(key, False) for key in keys),
            number in by_labels,
            number in by_oracle,
        )
        for number, keys in members.items()
    ]
    rows.sort(key=lambda row: (-row.accepted / max(row.labelled, 1), row.number))
    lists = [
        LoadedList(name, "EM", of_classes(classes, chosen), 0)
        for name, chosen in ((BY_LABELS, by_labels), (BY_ORACLE, by_oracle))
    ]
    return lists, rows


def _write_frames(session: Session, most: int, path: Path) -> tuple[list[FrameKey], int]:
    """The region of frames in the layout of spi_em_class, a group for those of one mask and centre; returns which."""
    recipe, reader = session.recipe(), session.results()
    told = recipe.geometry.geometry()
    try:
        centres = {
            (file.path, file.dataset): beam_in_region(file.geometry.over(told), recipe) for file in reader.files()
        }
    finally:
        reader.close()
    everything = reaching(session)
    chosen = everything.take(evenly(len(everything), most))
    if not len(chosen):
        raise SessionError(
            f"Could not sort frames of {session.path} by EM: none reaches the network.", "Scan some first.", title=TITLE
        )
    preparation = preparation_for(recipe, (1, 1), 3 if recipe.prepare.colour == "jet" else 1)
    groups: dict[tuple[Any, ...], tuple[h5py.Group, list[FrameKey]]] = {}
    with RegionReader(session, preparation) as frames, h5py.File(path, "x") as out:
        for chunk, counts in frames.read(chosen):
            source, dataset = file = chunk.files[chunk.file[0]]
            if not np.isfinite(centres[file]).all():
                raise SessionError(
                    f"Could not sort frames by EM: where the beam hits those of {source} is unknown.",
                    "Set beam_center_x and beam_center_y under [geometry] in the recipe of a new session.",
                    title=TITLE,
                )
            usable = frames.usable
            kind = (*centres[file], counts.shape[1:], usable.tobytes())
            if kind not in groups:
                # h5py lists groups by name: with zeros in front that is the order in which they were made.
                group = out.create_group(f"entry_1/image_{len(groups) + 1:06d}")
                group["mask"] = (~usable).astype(np.int32)
                group["image_center"] = np.array([*centres[file], 0.0])
                group.create_dataset(
                    "data", (0, *counts.shape[1:]), np.int32, maxshape=(None, *counts.shape[1:]),
                    chunks=(1, *counts.shape[1:]), compression="lzf",
                )  # fmt: skip
                groups[kind] = group, []
            group, keys = groups[kind]
            data = group["data"]
            data.resize(len(keys) + len(counts), axis=0)
            data[len(keys) :] = counts.round().astype(np.int32)
            keys += [FrameKey(source, dataset, index) for index in chunk.index.tolist()]
        if not groups:
            raise SessionError(
                f"Could not sort frames of {session.path} by EM: none can be read any more.",
                "Mount the data where it was when the session saw it.",
                title=TITLE,
            )
        out["cxi_version"] = 160
    return [key for _, keys in groups.values() for key in keys], frames.unreadable
