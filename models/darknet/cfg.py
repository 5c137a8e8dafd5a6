"""Darknet's cfg format: text to sections that remember their line numbers, to typed values, and those of `[net]`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TypeVar

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.input_files import read_regular
from photon_triage.models.common.limits import LONGEST_TEXT

T = TypeVar("T")

_SECTION_ALIASES = {
    "network": "net",
    "conv": "convolutional",
    "max": "maxpool",
    "avg": "avgpool",
    "soft": "softmax",
    "detection_region": "region",
}


LARGEST = 2**31 - 1
"""The largest whole number, that of Darknet's int."""

POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid")


@dataclass(frozen=True)
class Option:
    """The value of one key, as text, and the line it stands on."""

    value: str
    line: int


@dataclass(frozen=True)
class Section:
    """One `[name]` block of a cfg file: its options by key, and the line of its heading.

    Of a key that is repeated the first holds, as in Darknet; `repeated` has the others, with their lines.
    """

    name: str
    line: int
    options: dict[str, Option] = field(default_factory=dict)
    repeated: list[tuple[str, int]] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where the section stands, for messages."""
        return f"[{self.name}] at line {self.line}"

    def integer(self, key: str, default: int | None = None, *, minimum: int | None = None) -> int:
        """The whole number under `key`; without `default` the key must be there."""
        return self._number(key, default, _integer, "a whole number", minimum)

    def real(self, key: str, default: float | None = None, *, minimum: float | None = None) -> float:
        """The number under `key`; without `default` the key must be there."""
        return self._number(key, default, _real, "a number", minimum)

    def flag(self, key: str, default: bool = False) -> bool:
        """Whether the whole number under `key` is not zero."""
        return bool(self.integer(key, int(default)))

    def word(self, key: str, default: str, allowed: Sequence[str]) -> str:
        """The word under `key`, one of `allowed`."""
        option = self.options.get(key)
        if option is None:
            return default
        if option.value not in allowed:
            raise ModelError(
                f"Cannot read {key}={option.value} of [{self.name}] at line {option.line}: not a known {key}.",
                f"Allowed: {', '.join(allowed)}.",
            )
        return option.value

    def integers(self, key: str) -> tuple[int, ...]:
        """The comma-separated whole numbers under `key`; none where the key is absent."""
        return self._numbers(key, _integer, "whole numbers")

    def reals(self, key: str) -> tuple[float, ...]:
        """The comma-separated numbers under `key`; none where the key is absent."""
        return self._numbers(key, _real, "numbers")

    def line_of(self, key: str) -> int:
        """The line of `key`, or of the heading where the key is absent."""
        option = self.options.get(key)
        return self.line if option is None else option.line

    def _number(self, key: str, default: T | None, kind: Callable[[str], T], kind_name: str, minimum: T | None) -> T:
        option = self.options.get(key)
        if option is None:
            if default is None:
                raise ModelError(f"Cannot build {self.place}: it has no {key}.", f"Add {key}= with {kind_name}.")
            return default
        try:
            number = kind(option.value)
        except ValueError:
            raise ModelError(
                f"Cannot read {key}={option.value} of [{self.name}] at line {option.line}: not {kind_name}.",
                f"Write {key}= with {kind_name}.",
            ) from None
        if minimum is not None and number < minimum:  # type: ignore[operator]
            raise ModelError(
                f"Cannot use {key}={option.value} of [{self.name}] at line {option.line}: it is too small.",
                f"Allowed: {minimum} and above.",
            )
        return number

    def _numbers(self, key: str, kind: Callable[[str], T], kind_name: str) -> tuple[T, ...]:
        option = self.options.get(key)
        if option is None:
            return ()
        try:
            return tuple(kind(part) for part in option.value.split(",") if part)
        except ValueError:
            raise ModelError(
                f"Cannot read {key}={option.value} of [{self.name}] at line {option.line}: not {kind_name}.",
                f"Write {kind_name} with commas between.",
            ) from None


def _integer(text: str) -> int:
    """A whole number written in digits; raises ValueError for any other text and for numbers that are too large."""
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or abs(number := int(text)) > LARGEST:
        raise ValueError(text)
    return number


def _real(text: str) -> float:
    """A finite number; raises ValueError for any other text, Python's own ways of writing numbers included."""
    number = float(text)
    if not math.isfinite(number) or not text.isascii() or "_" in text:
        raise ValueError(text)
    return number


def read_cfg(text_or_path: str | Path) -> str:
    """The cfg text itself, that of the file that `text_or_path` names, or that of the shipped cfg of this name.

    Text is what has a line break or begins with a `[`. Raises ModelError where there is no such file.
    """
    if isinstance(text_or_path, str) and ("\n" in text_or_path or text_or_path.lstrip().startswith("[")):
        return text_or_path
    path = Path(text_or_path)
    try:
        return read_regular(path, LONGEST_TEXT).decode("utf-8-sig", "replace")
    except OSError as error:
        if str(text_or_path) in shipped_cfgs():
            return shipped_cfg(str(text_or_path))
        raise ModelError(
            f"Cannot read the cfg file {path}: {error.strerror or error}.",
            f"Shipped cfgs: {', '.join(shipped_cfgs())}; see shipped_cfg(name).",
        ) from error


def parse_cfg(text: str) -> tuple[Section, ...]:
    """The sections of a cfg in order, the first of them `[net]`.

    As in Darknet, white space has no meaning, and `#` and `;` begin comments. Raises ModelError, with the line number,
    where a line is neither a heading nor `key=value`.
    """
    sections: list[Section] = []
    for number, raw_line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        line = "".join(raw_line.split("#")[0].split(";")[0].split())
        if not line:
            continue
        if line.startswith("["):
            name = line[1:].removesuffix("]").lower()
            sections.append(Section(_SECTION_ALIASES.get(name, name), number))
            continue
        key, equals, value = line.partition("=")
        if not equals or not key:
            raise ModelError(
                f"Cannot read the cfg at line {number}: {raw_line.strip()!r} is neither a heading nor an option.",
                "Write [section] or key=value.",
            )
        if not sections:
            raise ModelError(
                f"Cannot read the cfg at line {number}: {key} stands before any [section].", "Begin [net]."
            )
        if key in sections[-1].options:
            sections[-1].repeated.append((key, number))
        else:
            sections[-1].options[key] = Option(value, number)
    if not sections or sections[0].name != "net":
        found = sections[0].place if sections else "no section at all"
        raise ModelError(f"Cannot read the cfg: expected [net] first, got {found}.", "Begin the cfg with [net].")
    if len(sections) == 1:
        raise ModelError("Cannot read the cfg: no layer follows [net].", "Add at least one layer section.")
    return tuple(sections)


def shipped_cfgs() -> tuple[str, ...]:
    """The names of the cfgs that come with the package, without `.cfg`."""
    folder = resources.files("photon_triage.models") / "cfgs"
    return tuple(sorted(entry.name.removesuffix(".cfg") for entry in folder.iterdir() if entry.name.endswith(".cfg")))


def shipped_cfg(name: str) -> str:
    """The text of the cfg `name` that comes with the package, with or without `.cfg`."""
    stem = name.removesuffix(".cfg")
    if stem not in shipped_cfgs():
        raise ModelError(
            f"Cannot find the cfg {name}: none of that name is shipped.", f"See {', '.join(shipped_cfgs())}."
        )
    return (resources.files("photon_triage.models") / "cfgs" / f"{stem}.cfg").read_text(encoding="utf-8")


@dataclass(frozen=True)
class NetConfig:
    """The `[net]` section: the input's size in pixels and how the network is trained.

    `learning_rate` applies to the mean over the `batch` images of sums over cells; `burn_in`, `steps` and `max_batches`
    count batches. The augmentation values (`angle` in degrees, `saturation`, `exposure`, `hue`, `aspect`, crops in
    pixels) are kept for the training.
    """

    width: int
    height: int
    channels: int
    batch: int
    subdivisions: int
    learning_rate: float
    momentum: float
    decay: float
    burn_in: int
    power: float
    policy: str
    steps: tuple[int, ...]
    scales: tuple[float, ...]
    step: int
    scale: float
    gamma: float
    max_batches: int
    angle: float
    saturation: float
    exposure: float
    hue: float
    aspect: float
    flip: bool
    min_crop: int
    max_crop: int


def read_net(section: Section) -> NetConfig:
    """The values of the `[net]` section, Darknet's defaults where it is silent."""
    steps, scales = section.integers("steps"), section.reals("scales")
    if len(steps) != len(scales):
        raise ModelError(
            f"Cannot use steps of [net] at line {section.line_of('steps')}: "
            f"expected as many scales as steps, got {len(steps)} steps and {len(scales)} scales.",
            "Give one scale for each step.",
        )
    return NetConfig(
        width=section.integer("width", minimum=1),
        height=section.integer("height", minimum=1),
        channels=section.integer("channels", 3, minimum=1),
        batch=section.integer("batch", 1, minimum=1),
        subdivisions=section.integer("subdivisions", 1, minimum=1),
        learning_rate=section.real("learning_rate", 0.001, minimum=0.0),
        momentum=section.real("momentum", 0.9, minimum=0.0),
        decay=section.real("decay", 0.0001, minimum=0.0),
        burn_in=section.integer("burn_in", 0, minimum=0),
        power=section.real("power", 4.0),
        policy=section.word("policy", "constant", POLICIES),
        steps=steps,
        scales=scales,
        step=section.integer("step", 1, minimum=1),
        scale=section.real("scale", 1.0),
        gamma=section.real("gamma", 1.0),
        max_batches=section.integer("max_batches", 0, minimum=0),
        angle=section.real("angle", 0.0),
        saturation=section.real("saturation", 1.0),
        exposure=section.real("exposure", 1.0),
        hue=section.real("hue", 0.0),
        aspect=section.real("aspect", 1.0),
        flip=section.flag("flip", True),
        min_crop=section.integer("min_crop", 0, minimum=0),
        max_crop=section.integer("max_crop", 0, minimum=0),
    )
