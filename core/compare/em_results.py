"""What an EM classification came to, kept in a session, and the selections that follow from it."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import LARGEST_TABLE, make_folder, open_text
from photon_triage.core.common.csv_safety import csv_lines, plain_cell
from photon_triage.core.common.errors import SessionError
from photon_triage.core.compare.em import EmSettings, Sorted, chosen_by_labels, chosen_by_oracle, of_classes
from photon_triage.core.compare.lists import LoadedList
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT

FOLDER, CLASSES, SETTINGS = "em", "classes.csv", "settings.json"
BY_LABELS, BY_ORACLE = "EM, classes by labels", "EM, classes by an oracle"


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
