from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.commands import CommandFollower
from photon_triage.core.session.decisions.labels import LabelWriter, Subject
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.core.session.models.catalog import models_in_use
from photon_triage.core.session.models.comparison import judge, judging_keys
from photon_triage.core.session.models.promotion import promote, promotions, rollback, set_shadow, shadow_of
from photon_triage.core.session.models.promotion_rule import Verdict
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.models.common.checkpoint import save
from photon_triage.models.darknet.darknet import Darknet

from ..builders import ONE_CELL_CFG, file_row, key

A = "/data/a.cxi"
RECIPE = """name = "classify"
[[stages]]
kind = "lit-pixels"
min_lit_pixels = 2
[[stages]]
kind = "classify"
model = "first"
threshold = 0.5
"""


def add_model(session: Session, name: str, parent: str | None = None) -> None:
    save(session.models_path / f"{name}.safetensors", Darknet.from_cfg(ONE_CELL_CFG), {"name": name, "parent": parent})


def results(scores: Sequence[float | None], model: str) -> list[FrameResult]:
    return [
        FrameResult(place, 0 if score is None else 1, score is not None, score, None if score is None else model)
        for place, score in enumerate(scores)
    ]


def new_session(folder: Path, old: Sequence[float | None], new: Mapping[int, float]) -> Session:
    """Frames of one file with the scores of the model in use, `first`, and those of `second` beside them."""
    session = Session.create(folder, RECIPE, "classify")
    for name in ("first", "second"):
        add_model(session, name)
    writer = ResultsWriter(session.results_path)
    file_id = writer.put_file(file_row(A, len(old)))
    writer.put_frames(file_id, results(old, "first"), now=100.0)
    writer.put_shadow(file_id, "second", [(index, score, ()) for index, score in new.items()])
    writer.close()
    return session


def label(session: Session, accepted: Sequence[int], rejected: Sequence[int], queue: str = "score") -> None:
    writer = LabelWriter(session.journal())
    writer.queue = queue
    writer.decide_all([Subject(key(A, index)) for index in accepted], "accepted")
    writer.decide_all([Subject(key(A, index)) for index in rejected], "rejected")


def better_session(folder: Path) -> Session:
    """30 accepted and 30 rejected frames: `first` finds a third of the accepted ones, `second` all."""
    old = [0.9 if index < 30 else 0.1 for index in range(180)]
    new = {index: 0.9 if index < 90 else 0.1 for index in range(180)}
    session = new_session(folder, old, new)
    label(session, range(0, 90, 3), range(90, 180, 3))
    return session


def swapped(verdict: Verdict, session: Session) -> Verdict:
    return judge(session, verdict.new, verdict.old)


def test_a_model_that_finds_more_is_better_and_the_other_way_round_is_not(tmp_path: Path) -> None:
    session = better_session(tmp_path / "s")
    verdict = judge(session, "first", "second")
    assert verdict.better and verdict.judge is not None and verdict.judge.kind == "labels"
    assert (verdict.judge.n, verdict.judge.accepted) == (60, 30)
    assert verdict.judge.old.f1.value == pytest.approx(0.5) and verdict.judge.new.f1.value == 1
    assert (verdict.judge.mcnemar.only_old, verdict.judge.mcnemar.only_new) == (0, 20)
    worse = swapped(verdict, session)
    assert not worse.better and "not higher" in worse.reason
    assert [each.key for each in worse.lost] == [each.key for each in verdict.gained]


def test_changed_sides_are_told_of_all_frames_that_both_have_scored_with_the_labels_there_are(tmp_path: Path) -> None:
    verdict = judge(better_session(tmp_path / "s"), "first", "second")
    assert verdict.compared == 180 and not verdict.lost
    assert {each.key for each in verdict.gained} == {key(A, index) for index in range(30, 90)}
    told = verdict.as_json()["changed"]["gained"]
    assert (told["n"], told["accepted"], told["rejected"]) == (60, 20, 0)


def test_as_good_a_model_is_refused(tmp_path: Path) -> None:
    scores = [0.9 if index < 90 else 0.1 for index in range(180)]
    session = new_session(tmp_path / "s", scores, dict(enumerate(scores)))
    label(session, range(0, 90, 3), range(90, 180, 3))
    verdict = judge(session, "first", "second")
    assert not verdict.better and "not higher" in verdict.reason
    with pytest.raises(SessionError, match="not higher"):
        promote(session, verdict)
    assert models_in_use(session) == {"classify": "first"}


def test_a_gain_that_may_be_chance_is_refused_and_it_is_said_how_many_labels_would_tell(tmp_path: Path) -> None:
    old = [0.9 if index < 84 else 0.1 for index in range(180)]
    session = new_session(tmp_path / "s", old, {i: 0.9 if i < 90 else 0.1 for i in range(180)})
    label(session, range(0, 90, 3), range(90, 180, 3))
    verdict = judge(session, "first", "second")
    assert verdict.judge is not None and verdict.judge.mcnemar.only_new == 2
    assert not verdict.better and "may be chance" in verdict.reason and verdict.needed > 0


def test_with_few_labels_nothing_is_said(tmp_path: Path) -> None:
    session = new_session(tmp_path / "s", [0.1] * 60, dict.fromkeys(range(60), 0.9))
    label(session, range(0, 30, 3), [45])
    verdict = judge(session, "first", "second")
    assert not verdict.better and "label about 9 more" in verdict.reason and verdict.needed == 9


@pytest.mark.parametrize("learner", ["first", "second", "parent"])
def test_no_frame_that_a_model_or_its_parent_learned_from_judges_nor_its_neighbours(
    tmp_path: Path, learner: str
) -> None:
    session = better_session(tmp_path / "s")
    add_model(session, "parent")
    add_model(session, "second", parent="parent")
    folder = session.path / "training" / learner
    folder.mkdir(parents=True)
    dataset = key(A, 0).dataset
    (folder / "trained_on.csv").write_text(f"file,dataset,index\n{A},{dataset},31\n{A},{dataset},60\n")
    verdict = judge(session, "first", "second")
    assert verdict.left_out == 3, "frames 30, 33 and 60 are near, 63 is not"
    assert verdict.judge is not None and verdict.judge.n == 57


def test_a_file_that_was_moved_since_the_training_does_not_judge_either(tmp_path: Path) -> None:
    session = better_session(tmp_path / "s")
    folder = session.path / "training" / "second"
    folder.mkdir(parents=True)
    (folder / "trained_on.csv").write_text(f"file,dataset,index\n/elsewhere/a.cxi,{key(A, 0).dataset},60\n")
    assert judge(session, "first", "second").left_out == 1


def test_frames_that_one_has_not_scored_are_waited_for(tmp_path: Path) -> None:
    session = new_session(tmp_path / "s", [0.1] * 180, dict.fromkeys(range(90), 0.9))
    label(session, range(0, 90, 3), range(90, 180, 3))
    verdict = judge(session, "first", "second")
    assert verdict.waiting == 30 and not verdict.better
    assert verdict.waits and verdict.judge is None, "no numbers of the frames that happen to be scored"
    assert "both models have scored 30 of 60 labelled frames" in verdict.reason
    waiting = judging_keys(session, "second")
    assert sorted(each.index for each in waiting) == list(range(90, 180, 3)) and not judging_keys(session, "first")
    given: dict[FrameKey, float | None] = dict.fromkeys(waiting, 0.1)
    assert judge(session, "first", "second", scored={"second": given}).better


def test_frames_that_no_network_sees_count_against_both(tmp_path: Path) -> None:
    session = new_session(tmp_path / "s", [None] * 30 + [0.1] * 150, dict.fromkeys(range(30, 105), 0.9))
    label(session, range(0, 105, 3), range(105, 180, 3))
    verdict = judge(session, "first", "second", scored={"second": {key(A, i): 0.1 for i in range(105, 180)}})
    assert verdict.judge is not None and verdict.waiting == 0
    assert verdict.judge.new.recall.value == pytest.approx(25 / 35)


def test_a_large_audit_decides_and_tells_of_all_frames(tmp_path: Path) -> None:
    session = new_session(
        tmp_path / "s",
        [0.9 if index < 200 else 0.1 for index in range(2000)],
        {index: 0.9 if index < 400 else 0.1 for index in range(2000)},
    )
    drawn = draw_more(session, session.labels(), 0.5, 200, seed=3)
    judged = [frame.key.index for frame in drawn.frames]
    label(session, [i for i in judged if i < 400], [i for i in judged if i >= 400], queue="audit")
    verdict = judge(session, "first", "second")
    assert verdict.judge is verdict.audit and verdict.audit is not None and verdict.better
    old, new = verdict.audit.old, verdict.audit.new
    assert old.recall.low <= 0.5 <= old.recall.high and old.precision.value == 1
    assert new.f1.value == 1 and new.f1.low < 1
    assert verdict.labels is not None and verdict.labels.n == verdict.audit.n


def test_a_promotion_is_recorded_with_its_reason_and_several_are_taken_back_one_by_one(tmp_path: Path) -> None:
    session = better_session(tmp_path / "s")
    add_model(session, "third")
    session.who = "ada"
    promote(session, judge(session, "first", "second"))
    assert models_in_use(session) == {"classify": "second"}
    with pytest.raises(SessionError, match="not promoted over second"):
        promote(session, judge(session, "second", "third"))
    promote(session, judge(session, "second", "third"), anyway=True)
    assert [(each.model, each.over, each.anyway, each.who) for each in promotions(session)] == [
        ("second", "first", False, "ada"),
        ("third", "second", True, "ada"),
    ]
    assert rollback(session).model == "third" and models_in_use(session) == {"classify": "second"}
    assert rollback(session).model == "second" and models_in_use(session) == {"classify": "first"}
    with pytest.raises(SessionError, match="no model was promoted"):
        rollback(session)


def test_only_the_model_in_use_is_promoted_over(tmp_path: Path) -> None:
    session = better_session(tmp_path / "s")
    verdict = judge(session, "first", "second")
    promote(session, verdict)
    with pytest.raises(SessionError, match="second is in use"):
        promote(session, verdict)


def test_a_shadow_is_a_command_that_the_next_one_replaces(tmp_path: Path) -> None:
    session = better_session(tmp_path / "s")
    set_shadow(session, "second")
    assert CommandFollower(session.journal_path).wishes().shadow == "second" == shadow_of(session)
    set_shadow(session, None)
    assert shadow_of(session) is None
    with pytest.raises(SessionError, match="nowhere"):
        set_shadow(session, "nowhere")


def test_a_verdict_is_json_and_the_same_every_time(tmp_path: Path) -> None:
    session = better_session(tmp_path / "s")
    told = [json.dumps(judge(session, "first", "second").as_json()) for _ in range(2)]
    assert told[0] == told[1]
