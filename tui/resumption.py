"""The command by which an interrupted training is resumed: read from its folder, validated, and built anew.

A training's folder may come from somebody else. Of the command that is written there only options of a training
remain, with values of their types, for the session and the name that the folder belongs to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from photon_triage.core.common.containment import require_within
from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.trainings import approvals
from photon_triage.core.session.trainings.trainings import Training, session_of

COMMANDS = ("train", "weak", "pretrain")
"""Those by which trainings are begun; a sweep begins them with `train`."""
NAMES_OR_FILES = ("model", "init", "recipe")
"""Options whose value is a name, or a file."""
FILE_ENDINGS = (".cfg", ".safetensors", ".weights", ".toml", ".pt", ".pth")


@dataclass(frozen=True)
class Choice:
    """An option of a command: the parameter it sets, the type of its value (bool: it has none), how it is written."""

    parameter: str
    kind: type
    text: str

    @property
    def is_file(self) -> bool:
        """Whether its value is a path."""
        return self.kind is Path

    def names_file(self, value: str) -> bool:
        """Whether a value of it names a file."""
        if self.parameter in NAMES_OR_FILES:
            return os.sep in value or value.lower().endswith(FILE_ENDINGS)
        return self.is_file


@dataclass(frozen=True)
class Resumption:
    """A validated command, without the program's name, and where it is to be given.

    files: those that it names outside of the session; without the user's approval it may not be given then. approval:
    the words by which it is approved.
    """

    words: tuple[str, ...]
    cwd: Path
    files: tuple[str, ...]
    approval: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        """Whether it may be given: this user has begun or approved it, or it names no file outside of the session."""
        return not self.files or approvals.is_approved("training", self.approval)


def resumption(training: Training) -> Resumption:
    """The command that resumes a training.

    Raises SessionError where its folder names no command, or one that is not a training.
    """
    status, session = training.status, session_of(training.folder)
    if status is None or not status.words:
        raise _refusal(training, "the command it was begun with is not known")
    try:
        given = list(_given(status.words))
    except ValueError as error:
        raise _refusal(training, f"the command in its folder cannot be used, {error}") from error
    words = [status.words[0], str(session)]
    named = False
    for choice, value in given:
        if choice.parameter == "anew":
            continue
        if choice.parameter == "name":
            named = True
            if training.name != value and not re.fullmatch(rf"{re.escape(value)}-\d+", training.name):
                raise _refusal(training, f"the command in its folder is that of another training, {value!a}")
        words.append(choice.text if choice.kind is bool else f"{choice.text}={value}")
    if not named and status.words[0] != "weak":  # its names are numbered
        words.append(f"--name={training.name}")
    files = tuple(_files_outside(given, session))
    # Where no file is named, nothing depends on a working directory, and the folder's is not believed.
    return Resumption(tuple(words), Path(status.cwd) if files else session, files, (*status.words, status.cwd))


def approve_begun(words: Sequence[str]) -> None:
    """Remember that this user has begun a training by this command, if it is one that names files.

    What cannot be remembered is asked for when the training is resumed.
    """
    with suppress(OSError, ValueError):
        if any(choice.names_file(value) for choice, value in _given(words)):
            approvals.approve("training", (*words, str(Path.cwd())))


def _given(words: Sequence[str]) -> Iterator[tuple[Choice, str]]:
    """The options of a training's command line, with their values as text; raises ValueError for any other command."""
    if not words or words[0] not in COMMANDS:
        raise ValueError(f"it is not one of {', '.join(COMMANDS)}")
    choices = {text: choice for choice in _choices(words[0]) for text in (choice.text, *_other_texts(choice))}
    rest, arguments = iter(words[1:]), 0
    for word in rest:
        if not word.startswith("-"):
            arguments += 1
            continue
        text, has_value, value = word.partition("=")
        choice = choices.get(text)
        if choice is None or (choice.kind is bool and has_value):
            raise ValueError(f"it has no option {word[:100]!a}")
        if choice.kind is bool:
            yield Choice(choice.parameter, bool, text), ""
            continue
        value = value if has_value else next(rest, "")
        if choice.kind in (int, float):
            choice.kind(value)
        yield choice, value
    if arguments != 1:
        raise ValueError(f"it names {arguments} sessions")


def _choices(command: str) -> Iterator[Choice]:
    """The options of a command, from the annotations of its function."""
    from photon_triage.tui import cli

    function = cli.load(next(each for each in cli.COMMANDS if each.name == command))
    for name, hint in get_type_hints(function, include_extras=True).items():
        info = next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, OptionInfo)), None)
        if info is not None:
            # Within Annotated, typer takes the first name for the default until it builds the option.
            written = [text for text in (info.default, *(info.param_decls or ())) if str(text).startswith("--")]
            yield Choice(name, _kind(hint.__origin__), str(written[0]) if written else f"--{name.replace('_', '-')}")


def _kind(hint: Any) -> type:
    """The type of a value: of `list[Path] | None` it is Path."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint
    return next((_kind(each) for each in get_args(hint) if each is not NoneType), str)


def _other_texts(choice: Choice) -> tuple[str, ...]:
    return (f"--no-{choice.text[2:]}",) if choice.kind is bool else ()


def _files_outside(given: Sequence[tuple[Choice, str]], session: Path) -> Iterator[str]:
    """The values that name files, but those that are absolute paths into the session."""
    for choice, value in given:
        if choice.names_file(value) and not _is_within(value, session):
            yield value


def _is_within(path: str, session: Path) -> bool:
    try:
        require_within(Path(path), session)
    except (OSError, ValueError):
        return False
    return Path(path).is_absolute()


def _refusal(training: Training, why: str) -> SessionError:
    return SessionError(
        f"Could not go on with the training {training.name}: {why}.",
        "Give the command it was begun with again: it goes on where it was.",
    )
