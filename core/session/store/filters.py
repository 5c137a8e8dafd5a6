"""The queues in which a list offers frames, and its filter.

The filter is words such as `run:r0142 score:0.5..0.9 size:60..80 state:undecided file:S00012 jet`.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from typing import Any, Literal, get_args

from photon_triage.core.common.errors import UsageError

Queue = Literal[
    "score", "newest", "uncertain", "disagree", "audit", "flagged", "mine", "disputed", "kinds", "outliers", "changed"
]
QUEUES: tuple[Queue, ...] = get_args(Queue)
AUDIT: Queue = "audit"
"""Labels made from this one are of a random sample; those from any other are of what was ranked or chosen."""
FOLLOWING: frozenset[str] = frozenset({"score", "newest", "uncertain", "disagree"})
"""Queues that results.db alone tells; of the others most are told by the journals."""

EMBEDDED: tuple[Queue, ...] = ("kinds", "outliers")
"""Queues that the embeddings of frames tell."""

WHAT: dict[str, str] = {
    "score": "the highest scores first",
    "newest": "the newest first",
    "uncertain": "scores closest to the threshold first",
    "disagree": "where two models differ most first",
    "audit": "drawn at random: what the numbers are estimated from",
    "flagged": "flagged by anybody, the newest first",
    "mine": "decided by you, the last one first",
    "disputed": "accepted by one, rejected by another",
    "kinds": "one frame of each kind first, without labels",
    "outliers": "least like any other frame first",
    "changed": "decided before the frame changed",
}
EMPTY: dict[str, str] = {
    "disagree": "only one model has scored here\n`models use` has another one score again",
    "audit": "no audit sample yet\nd draws frames at random",
    "flagged": "nothing is flagged\nf flags a frame",
    "mine": "you have decided nothing here yet",
    "disputed": "people agree on all that several decided",
    "changed": "no labelled frame has changed",
    "kinds": "no frame is embedded yet\n`photon-triage embed S` makes kinds",
    "outliers": "no frame is embedded yet\n`photon-triage embed S` finds outliers",
}


SEEN = ("hit", "miss")
DECIDED = ("undecided", "accepted", "rejected", "skipped", "flagged", "disputed", "mine", "changed")
SIZE = "diameter_nm"
"""The measure that `size` stands for."""
HELP = (
    "run:r0142   file:S00012   score:0.5..0.9   score:>0.8   size:60..80 (nm)   spots:20..   "
    "class:water,ice   state:undecided,flagged   state:miss   state:changed   changed:0.5   "
    "any other word: in file or run"
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})?\.\.(?P<high>{_NUMBER})?|(?P<sign>[<>]=?)?(?P<value>{_NUMBER})")
_TERM = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_]*):(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, slots=True)
class FlippedTerm:
    """On which side of a threshold another model has a frame: not on that of the score in the list.

    model: which other one; any where it is empty.
    """

    threshold: float
    model: str = ""


@dataclass(frozen=True, slots=True)
class ListFilter:
    """What must hold of a frame or candidate: all of it, where several are given for one field any of them.

    words: in path or run. measures: by name. seen: hit or miss; decided: what the labels say. Text does not tell
    capitals from small letters.
    """

    words: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    score: Range | None = None
    measures: tuple[tuple[str, Range], ...] = ()
    seen: frozenset[str] = frozenset()
    decided: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    changed: FlippedTerm | None = None

    def conditions(self, score: str) -> tuple[list[str], list[Any]]:
        """What of it SQL can tell, with arguments: of tables r (frames) and f (files), and the column of scores."""
        found: list[str] = []
        arguments: list[Any] = []

        def add(condition: str, *values: Any) -> None:
            found.append(condition)
            arguments.extend(values)

        for word in self.words:
            add("(instr(lower(f.path), ?) OR instr(lower(f.run), ?))", word, word)
        for column, texts in (("f.run", self.runs), ("f.path", self.files)):
            if texts:
                add(f"({' OR '.join([f'instr(lower({column}), ?)'] * len(texts))})", *texts)
        if self.score is not None:
            add(*_between(score, self.score))
        for name, wanted in self.measures:
            column, *values = _between("json_extract(r.measures, ?)", wanted)
            add(column, f'$."{name}"', values[0], f'$."{name}"', values[1])
        if self.changed is not None:
            other = " AND m.name = ?" if self.changed.model else ""
            add(
                "EXISTS (SELECT 1 FROM scores s JOIN models m ON m.id = s.model_id WHERE s.frame_id = r.id "
                f"AND s.model_id <> r.model_id AND (s.score >= ?) <> (r.score >= ?){other})",
                *(self.changed.threshold,) * 2,
                *((self.changed.model,) if other else ()),
            )
        if len(self.seen) == 1:
            add("r.hit = ?", int("hit" in self.seen))
        return found, arguments


def parse_filter(text: str) -> ListFilter:
    """The filter that a line says; an empty line lets everything through.

    Raises UsageError that names the word and what is allowed.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _refused(text, "a quotation mark is not closed") from error
    plain: list[str] = []
    told: dict[str, list[str]] = {"run": [], "file": [], "class": [], "state": []}
    score: Range | None = None
    changed: FlippedTerm | None = None
    measures: list[tuple[str, Range]] = []
    for word in words:
        term = _TERM.fullmatch(word)
        if term is None:
            plain.append(word.lower())
            continue
        name, value = term["name"].lower(), term["value"]
        if name in told:
            told[name] += [part for part in value.lower().split(",") if part] or _nothing(word)
        elif name == "score":
            score = _range(word, value)
        elif name == "changed":
            changed = _changed(word, value)
        elif _RANGE.fullmatch(value):
            measures.append((SIZE if name == "size" else name, _range(word, value)))
        elif name == "size":
            raise _refused(word, "a size is a number or a range in nm")
        else:
            raise _refused(word, f"there is no field {name!r}; a measure such as spots or photons needs a number")
    states = set(told["state"])
    if unknown := sorted(states - {*SEEN, *DECIDED}):
        raise _refused(f"state:{unknown[0]}", f"states are {', '.join((*SEEN, *DECIDED))}")
    return ListFilter(
        tuple(plain), tuple(told["run"]), tuple(told["file"]), score, tuple(measures),
        frozenset(states & set(SEEN)), frozenset(states & set(DECIDED)), frozenset(told["class"]), changed,
    )  # fmt: skip


def _range(word: str, text: str) -> Range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise _refused(word, "expected a number, or a range such as 0.5..0.9, 0.5.., >0.5 or <0.9")
    if match["value"] is None:
        low, high = float(match["low"] or -math.inf), float(match["high"] or math.inf)
        if low > high:
            raise _refused(word, "the range ends before it begins")
        return Range(low, high)
    value = float(match["value"])
    match match["sign"]:
        case ">":
            return Range(low=math.nextafter(value, math.inf))
        case ">=":
            return Range(low=value)
        case "<":
            return Range(high=math.nextafter(value, -math.inf))
        case "<=":
            return Range(high=value)
    return Range(value, value)


def _changed(word: str, text: str) -> FlippedTerm:
    threshold, _, model = text.partition(",")
    try:
        return FlippedTerm(float(threshold), model)
    except ValueError:
        raise _refused(
            word, "expected a threshold, or a threshold and a model as in changed:0.5,hitnet-spi-2"
        ) from None


def _between(column: str, wanted: Range) -> tuple[str, float, float]:
    return f"({column} >= ? AND {column} <= ?)", wanted.low, wanted.high


def _nothing(word: str) -> list[str]:
    raise _refused(word, "nothing stands behind the colon")


def _refused(word: str, why: str) -> UsageError:
    return UsageError(f"Could not filter by {word!r}: {why}.", f"Examples: {HELP}.", title="Filter not understood")
