"""Command `demo`: a simulated beamtime, triaged while it is written, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photon_triage.tui.commands.output import say, say_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from photon_triage.core.metrics import Confusion
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.reader import ResultsReader
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from photon_triage.tui.commands.output import progress_bar, say_json
from photon_triage.tui.commands.session import count_frames
from photon_triage.tui.terminal.terminal import Display, ImagesOption, ThemeOption, chosen_display, require_screen

if TYPE_CHECKING:
    from photon_triage.core.session.session import Session


NAMES = ("precision", "recall", "f1")
SCREEN_SECONDS, HEADLESS_SECONDS = 600, 60
CATCH_UP_S = 60.0
"""Seconds without a new frame, after the last is written, from which the engine counts as stuck."""
LOOK_S = 0.1


@dataclass(frozen=True)
class Demonstration:
    """A kind of demonstration.

    rate_hz: frames a second. seconds_a_run: length of a run. report: the metrics as JSON values, from the session and
    the folder simulated into. tell: the same in words.
    """

    rate_hz: int
    seconds_a_run: int
    report: Callable[[Session, Path], dict[str, Any]]
    tell: Callable[[dict[str, Any]], None]


def spi_report(session: Session, folder: Path) -> dict[str, Any]:
    """Single hits at the session's threshold, and what the best rule on lit pixels would have found."""
    from photon_triage.core.metrics import best_threshold, confusion_at
    from photon_triage.core.session.decisions.label_files import match_files, read_labels
    from photon_triage.core.simulate.writers import TRUTH_FILE

    reader = session.results()
    try:
        frames, files, model = list(reader.all_frames()), reader.files(), reader.state().model
    finally:
        reader.close()
    labels = match_files(read_labels(folder / TRUTH_FILE), files)
    truth = {label.key: label.verdict == "accepted" for label in labels}
    threshold = session.threshold()
    confusion = confusion_at({frame.key: frame.score for frame in frames}, truth, threshold).confusion
    reached = session.recipe().stages_before_network
    lit = {frame.key: frame.measures.get("lit_pixels") if frame.passed >= reached else None for frame in frames}
    lit_threshold = best_threshold(lit, truth)
    baseline = confusion_at(lit, truth, lit_threshold if lit_threshold is not None else float("inf")).confusion
    in_window = [truth[frame.key] for frame in frames if frame.passed >= reached and frame.key in truth]
    return {
        "frames_seen": len(frames),
        "labels": confusion.n,
        "threshold": threshold,
        **_estimates(confusion),
        "tn": confusion.tn,
        "baseline_f1": baseline.f1.value or 0.0,
        "baseline_lit_pixels": lit_threshold,
        "single_hits": sum(truth.values()),
        "in_size_window": len(in_window),
        "single_hits_in_size_window": sum(in_window),
        "model": model,
        "simulated": True,
    }


def tell_spi(report: dict[str, Any]) -> None:
    """The report on single hits in words."""
    say(f"Single hits at threshold {report['threshold']:g}, against the truth of {report['labels']} frames:")
    _say_estimates(report)
    say(f"The best lit-pixel threshold within the size window has an F1 of {report['baseline_f1']:.3f}.")


def tomo_report(session: Session, folder: Path) -> dict[str, Any]:
    """Every material's pixels; `f1` is the mean over all but the background."""
    from photon_triage.core.simulate.tomo import CLASSES

    reader = session.results()
    try:
        frames, classes = _pixel_confusions(reader, folder, CLASSES)
        model = reader.state().model
    finally:
        reader.close()
    scores = {name: _pixel_scores(confusion) for name, confusion in classes.items()}
    materials = [scores[name]["f1"] or 0.0 for name in CLASSES[1:]]
    return {
        "frames_seen": frames,
        "labels": frames,
        "pixels": classes[CLASSES[0]].n,
        "classes": scores,
        "f1": sum(materials) / len(materials),
        "model": model,
        "simulated": True,
    }


def tell_tomo(report: dict[str, Any]) -> None:
    """The report on materials in words."""
    say(f"Each pixel's material, against the truth of {report['labels']} slices, {report['pixels']:,} pixels:")
    _say_pixels(report["classes"])
    say(f"Mean F1 without the background: {report['f1']:.3f}.")


def cryoet_report(session: Session, folder: Path) -> dict[str, Any]:
    """The membranes' pixels, and the candidates of at least the session's threshold."""
    from photon_triage.core.session.decisions.label_files import match_files, read_labels
    from photon_triage.core.session.decisions.matching import points_against
    from photon_triage.core.simulate.cryoet import CLASSES
    from photon_triage.core.simulate.writers import POINTS_FILE

    threshold, patches = session.threshold(), session.recipe().patches
    assert patches is not None, "the recipe for cryo-electron tomography searches for candidates"
    reader = session.results()
    try:
        frames, classes = _pixel_confusions(reader, folder, CLASSES)
        labels = match_files(read_labels(folder / POINTS_FILE), reader.files())
        truth = {label.key: label.verdict == "accepted" for label in labels}
        confusion = points_against(truth, reader, threshold, patches.min_distance).confusion
        model, candidates = reader.state().model, reader.counts().candidates
    finally:
        reader.close()
    membrane = classes[CLASSES[1]]
    return {
        "frames_seen": frames,
        "labels": len(labels),
        "threshold": threshold,
        **_estimates(confusion),
        "candidates": candidates,
        "membrane": _pixel_scores(membrane),
        "pixels": membrane.n,
        "model": model,
        "simulated": True,
    }


def tell_cryoet(report: dict[str, Any]) -> None:
    """The report on membranes and candidates in words."""
    say(f"Membranes, against the truth of {report['frames_seen']} slices, {report['pixels']:,} pixels:")
    _say_pixels({"membrane": report["membrane"]})
    say(f"Candidates at threshold {report['threshold']:g}, against the {report['labels']} injectisomes on the slices:")
    _say_estimates(report)


DEMONSTRATIONS = {
    "spi": Demonstration(20, 20, spi_report, tell_spi),
    "tomo": Demonstration(2, 20, tomo_report, tell_tomo),
    "cryoet": Demonstration(1, 20, cryoet_report, tell_cryoet),
}


def _pixel_confusions(reader: ResultsReader, folder: Path, names: tuple[str, ...]) -> tuple[int, dict[str, Confusion]]:
    """How many slices were read, and every class's pixels on them; a slice without a mask is all background."""
    import numpy as np

    from photon_triage.core.metrics import Confusion
    from photon_triage.core.simulate.writers import true_mask

    frames, counts = 0, np.zeros((len(names), len(names)), np.int64)
    for row in reader.all_frames():
        frames += 1
        true = true_mask(folder, row.key)
        mask = reader.mask(row.id)
        if mask is None:
            found = np.zeros_like(true)
        else:
            height, width = mask.values.shape
            true = true[mask.top : mask.top + height, mask.left : mask.left + width]
            found = _renamed(mask.values, mask.classes, names)
        counts += _pairs(true, found, len(names))
    total = int(counts.sum())
    confusions = {}
    for place, name in enumerate(names):
        tp = int(counts[place, place])
        fp, fn = int(counts[:, place].sum()) - tp, int(counts[place].sum()) - tp
        confusions[name] = Confusion(tp, fp, fn, total - tp - fp - fn)
    return frames, confusions


def _pairs(true: NDArray[np.uint8], found: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """How many pixels are truly of a class (row) and found to be of one (column): (classes, classes)."""
    import numpy as np

    both = true.astype(np.int64) * classes + found
    return np.bincount(both.reshape(-1), minlength=classes**2).reshape(classes, classes)


def _renamed(values: NDArray[np.uint8], classes: Iterable[str], names: tuple[str, ...]) -> NDArray[np.uint8]:
    """The same classes as places among `names`; the first where a name is not among them."""
    import numpy as np

    return np.array([names.index(name) if name in names else 0 for name in classes], np.uint8)[values]


def _pixel_scores(confusion: Confusion) -> dict[str, float | None]:
    """Without intervals: neighbouring pixels are not independent."""
    return {name: getattr(confusion, name).value for name in (*NAMES, "iou")}


def _estimates(confusion: Confusion) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in NAMES:
        estimate = getattr(confusion, name)
        found[name] = estimate.value
        found[f"{name}_interval"] = [estimate.low, estimate.high]
    return found | {name: getattr(confusion, name) for name in ("tp", "fp", "fn")}


def _say_estimates(report: dict[str, Any]) -> None:
    say_table((name, _number(report[name]), "[{:.3f}, {:.3f}]".format(*report[f"{name}_interval"])) for name in NAMES)


def _say_pixels(classes: dict[str, dict[str, float | None]]) -> None:
    header = ("", *NAMES, "iou")
    say_table([header, *((name, *(_number(scores[each]) for each in header[1:])) for name, scores in classes.items())])


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


@dataclass(frozen=True)
class _Beamtime:
    kind: str
    folder: Path
    session: Session
    simulator: subprocess.Popen[bytes]
    frames: int


def demo(
    kind: Annotated[
        Literal["spi", "tomo", "cryoet"], typer.Option(help="What is simulated, and by which recipe.")
    ] = "spi",
    seconds: Annotated[
        int | None, typer.Option(min=1, help="Length of the beamtime; 600 with a screen, 60 without.")
    ] = None,
    screen: Annotated[
        bool, typer.Option(help="Open the screen; without it the metrics are printed at the end.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation; the model was trained on other seeds.")] = 2018,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for data and session, kept; else a temporary one.")
    ] = None,
    images: ImagesOption = None,
    theme: ThemeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON (with --no-screen).")] = False,
) -> None:
    """Simulate a beamtime, triage it with the embedded models, and show it.

    spi: single-particle imaging, 20 frames a second. tomo: slices of a degrading implant in bone, 2 a second. cryoet:
    tomogram slices of minicells with injectisomes, 1 a second.

    Without a screen, or where there is no terminal, the metrics against the simulation's truth are printed.
    """
    display = chosen_display(images, theme)
    if screen and sys.stdout.isatty():
        require_screen("To see its metrics alone: --no-screen.")
        code = _show(kind, seconds or SCREEN_SECONDS, seed, keep, display)
        say("The demonstration has ended.")
    else:
        code = 0
        with _beamtime(kind, seconds or HEADLESS_SECONDS, seed, keep) as beamtime:
            _measure(beamtime, as_json=as_json)
    if keep is not None:
        say(f"Data and session are kept in {keep}.")
    raise typer.Exit(code)


def _show(kind: str, seconds: int, seed: int, keep: Path | None, display: Display) -> int:
    from photon_triage.tui.app import run_screen

    with ExitStack() as stack:
        beamtime = stack.enter_context(_beamtime(kind, seconds, seed, keep))
        say(f"Simulated data in {beamtime.folder}, session {beamtime.session.path}")
        return run_screen(beamtime.session.path, display=display, ending=stack.close)


def _measure(beamtime: _Beamtime, *, as_json: bool) -> None:
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.engine.process import engine_status

    with progress_bar("simulated beamtime", beamtime.frames, quiet=as_json) as advance:
        before, moved = 0, time.monotonic()
        while (seen := count_frames(beamtime.session).frames) < beamtime.frames:
            advance(seen)
            if seen > before or beamtime.simulator.poll() is None:
                before, moved = seen, time.monotonic()
            engine = engine_status(beamtime.session)
            if engine.status in ("failed", "died") or time.monotonic() > moved + CATCH_UP_S:
                reason = (engine.state.message or "no reason").rstrip(".")
                if engine.status == "died":
                    reason = "its engine was killed, or has crashed"
                raise SessionError(
                    f"The demonstration saw {seen} of {beamtime.frames} frames: {reason}.",
                    f"The engine's log ends: {_last_lines(beamtime.session.log_path)}",
                    title="Demonstration failed",
                )
            time.sleep(LOOK_S)
        advance(seen)
    kind = DEMONSTRATIONS[beamtime.kind]
    report = {"frames_written": beamtime.frames, **kind.report(beamtime.session, beamtime.folder)}
    if as_json:
        say_json(report)
        return
    say(f"Simulated data, {report['frames_written']} frames written, {report['frames_seen']} seen.")
    kind.tell(report)


@contextmanager
def _beamtime(kind: str, seconds: int, seed: int, keep: Path | None) -> Iterator[_Beamtime]:
    """A simulation and an engine at work; both are ended, and a temporary folder is removed, in the end."""
    from photon_triage.core.engine.process import start_engine, stop_engine
    from photon_triage.core.recipe import recipe_text
    from photon_triage.core.session.session import Session

    place = Path(tempfile.mkdtemp(prefix="photon-triage-demo-")) if keep is None else keep.expanduser().resolve()
    folder = place / "data"
    folder.mkdir(parents=True, exist_ok=True)
    session = Session.create(place / "session", recipe_text(kind), kind)
    rate = DEMONSTRATIONS[kind].rate_hz
    frames = seconds * rate
    runs = -(-seconds // DEMONSTRATIONS[kind].seconds_a_run)
    command = [sys.executable, "-P", "-m", "photon_triage.tui", "simulate", kind, str(folder), "--quiet"]
    options = {"frames": frames, "rate": rate, "runs": runs, "seed": seed}
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with (place / "simulator.log").open("wb") as log:
        simulator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        start_engine(session, [folder])
        yield _Beamtime(kind, folder, session, simulator, frames)
    finally:
        simulator.terminate()
        simulator.wait()
        stop_engine(session)
        if keep is None:
            shutil.rmtree(place, ignore_errors=True)


def _last_lines(log: Path) -> str:
    from photon_triage.core.common.containment import LARGEST_TABLE, read_bytes

    try:
        return json.dumps(read_bytes(log, log.parent, LARGEST_TABLE).decode(errors="replace").splitlines()[-3:])
    except OSError:
        return "nothing"
