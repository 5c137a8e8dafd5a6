"""An audit as commands and screens use it: drawn from a session, written to its journals, and as it stands."""

from __future__ import annotations

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions.audit_draws import Audit, AuditDraw, audit_of, draw_audit, record_draw
from photon_triage.core.session.decisions.labels import LabelBook
from photon_triage.core.session.decisions.matching import labels_of, scores_of_points
from photon_triage.core.session.session import Session


def draw_more(session: Session, book: LabelBook, threshold: float, more: int, seed: int | None = None) -> AuditDraw:
    """Draw so many more frames and write the draw into a journal of one's own.

    seed: see draw_audit. Raises SessionError where there is nothing to draw from, or the draw cannot be written.
    """
    recipe = session.recipe()
    reader = session.results()
    try:
        keys = [drawn.key for drawn in book.draws[-1].frames] if book.draws else []
        drawn = draw_audit(
            reader.frames(recipe.unit),
            book.draws,
            labels_of(keys, book.labels, recipe.label_radius),
            threshold=threshold,
            more=more,
            model=reader.state().model or "",
            seed=seed,
        )
    finally:
        reader.close()
    if not drawn.frames:
        raise SessionError(
            f"Could not draw {recipe.unit} from {session.path}: there are none yet.", "Wait until the engine has some."
        )
    journal = session.journal()
    try:
        record_draw(journal, drawn)
    finally:
        journal.close()
    return drawn


def audit_now(session: Session, book: LabelBook) -> Audit | None:
    """The audit as it stands, None before the first draw."""
    keys = {drawn.key for each in book.draws for drawn in each.frames}
    if not keys:
        return None
    recipe = session.recipe()
    reader = session.results()
    try:
        scores = scores_of_points(keys, reader, recipe.label_radius) if recipe.patches else reader.frames().scores(keys)
    finally:
        reader.close()
    return audit_of(book.draws, labels_of(keys, book.labels, recipe.label_radius), scores)
