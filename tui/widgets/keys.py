"""The keys of the main screen, in the order in which a narrow footer should keep them."""

from __future__ import annotations

from textual.binding import Binding
from textual.content import Content

from photon_triage.tui.terminal.text import cells
from photon_triage.tui.widgets.pane import Line

CLASSES = ("single", "multiple", "water", "streak", "aggregate", "ice", "artefact", "background", "other")
"""What the keys 1 to 9 say of a frame."""
ACCEPTED_CLASS = "single"
"""The one class that accepts a frame; every other one rejects it."""

TRYING = [
    Binding("enter", "keep_threshold", "Keep", id="threshold_keep", tooltip="Keep the threshold that is tried"),
    Binding("u,backspace", "drop_threshold", "Drop", id="threshold_drop", tooltip="Go back to the threshold in use"),
]
"""While a threshold is tried, these take the place of other actions on their keys."""
PALETTE = Binding(
    "ctrl+p",
    "app.command_palette",
    "Palette",
    id="palette",
    tooltip="Every action by its name, themes, screenshot",
    key_display="^p",
)
DECIDING = [
    Binding("a", "decide('accepted')", "Accept", id="accept", tooltip="Accept the frame, then the next undecided"),
    Binding("x", "decide('rejected')", "Reject", id="reject", tooltip="Reject the frame, then the next undecided"),
    Binding("space", "decide('skipped')", "Skip", id="skip", tooltip="Say neither of it, then the next undecided"),
    Binding("u,backspace", "undo", "Undo", id="undo", tooltip="Take back the last decision and return to it"),
]
REPEATING = [
    Binding("v", "mark", "Mark", id="mark", tooltip="Mark a range from here on, for one decision; or give it up"),
    Binding("U,ctrl+r", "redo", "Redo", id="redo", tooltip="Make the decision that was undone last once more"),
    Binding(
        "full_stop",
        "repeat",
        "Repeat",
        id="repeat",
        show=False,
        tooltip="Give this frame or the marked range the last verdict and class again",
        key_display=".",
    ),
]
STEERING = [
    Binding("t", "tail", "Tail", id="tail", tooltip="Follow the newest frames"),
    Binding("slash", "filter", "Filter", id="filter", tooltip="Show only some frames", key_display="/"),
    Binding("question_mark", "help", "Help", id="help", tooltip="What the keys do", key_display="?"),
    PALETTE,
    Binding("q", "quit_screen", "Quit", id="quit", tooltip="Leave the screen; the engine goes on"),
]
CLASSIFYING = [
    Binding(
        str(place),
        f"classify({place})",
        "Class",
        id=f"class_{place}",
        key_display="1-9",
        show=place == 1,
        tooltip=f"{'Accept' if name == ACCEPTED_CLASS else 'Reject'} as {name}",
    )
    for place, name in enumerate(CLASSES, 1)
]
SEEING = [
    Binding("c", "sheet", "Sheet", id="sheet", tooltip="Contact sheet: many frames as small pictures, and back"),
    Binding("0", "classify(0)", "Clear", id="class_clear", show=False, tooltip="Keep the verdict, take its class away"),
    Binding("f", "flag", "Flag", id="flag", tooltip="Flag the frame, or take the flag off"),
    Binding("n", "undecided(1)", "Next", id="next", tooltip="Next undecided frame"),
    Binding("N", "undecided(-1)", "Previous", id="previous", show=False, tooltip="Previous undecided frame"),
    Binding("enter", "zoom", "Zoom", id="zoom", tooltip="Picture over the whole width, and back", key_display="enter"),
    Binding(
        "s",
        "sort",
        "Queue",
        id="sort",
        tooltip="What to look at first: newest, scores, uncertain, audit, flagged, mine ...",
    ),
    Binding(
        "left_square_bracket",
        "threshold(-1)",
        "Threshold",
        id="threshold_down",
        tooltip="Try a threshold lower by 0.01: list, precision, recall; then enter keeps it",
        key_display="[ ]",
    ),
    Binding(
        "right_square_bracket",
        "threshold(1)",
        "Threshold",
        id="threshold_up",
        show=False,
        tooltip="Try a threshold higher by 0.01: list, precision, recall; then enter keeps it",
    ),
    Binding(
        "d", "draw", "Draw", id="draw", show=False, tooltip="Draw frames at random for the audit: its queue, then d"
    ),
    Binding("e", "export", "Export", id="export", tooltip="Write a list of frames for the next program"),
    Binding("y", "copy", "Copy", id="copy", tooltip="Copy path //index"),
    Binding("p", "pause", "Pause", id="pause", tooltip="Hold the screen still; the engine goes on"),
    Binding("tab", "pane", "Pane", id="pane", tooltip="Next pane", key_display="tab"),
]
SURVEYING = [
    Binding("R", "runs", "Runs", id="runs", show=False, tooltip="Table of runs over the whole screen, and back"),
    Binding("F", "files", "Files", id="files", show=False, tooltip="Files: why they are not read in full, and notes"),
    Binding("P", "powder", "Powder", id="powder", show=False, tooltip="Virtual powder of hits, misses, difference"),
    Binding("h", "axis", "Hit rate", id="axis", show=False, tooltip="Hit rate over time, against run, or a number"),
]
LEARNING = [
    Binding("T", "training", "Train", id="training", tooltip="Trainings: begin, follow, pause, compare and promote"),
]
MOVING = [
    Binding("j,down", "move(1)", "Down", id="down", show=False, tooltip="Next line"),
    Binding("k,up", "move(-1)", "Up", id="up", show=False, tooltip="Line before"),
    Binding("g,home", "end(-1)", "Top", id="top", show=False, tooltip="First line"),
    Binding("G,end", "end(1)", "Bottom", id="bottom", show=False, tooltip="Last line"),
    Binding("right", "move_across(1)", "Right", id="right", show=False, tooltip="Next frame, also across the sheet"),
    Binding("left", "move_across(-1)", "Left", id="left", show=False, tooltip="Frame before, also across the sheet"),
    Binding(
        "greater_than_sign",
        "neighbour(1)",
        "Neighbour",
        id="neighbour_next",
        show=False,
        tooltip="Look at the next frame of the run, listed or not",
        key_display=">",
    ),
    Binding(
        "less_than_sign",
        "neighbour(-1)",
        "Neighbour",
        id="neighbour_previous",
        show=False,
        tooltip="Look at the frame of the run before this one, listed or not",
        key_display="<",
    ),
    Binding("ctrl+d,pagedown", "page(1)", "Page down", id="page_down", show=False, tooltip="Half a page down"),
    Binding("ctrl+u,pageup", "page(-1)", "Page up", id="page_up", show=False, tooltip="Half a page up"),
]
LOOKING = [
    Binding("plus,equals_sign", "contrast(1)", "Contrast+", id="contrast_up", show=False, tooltip="More contrast"),
    Binding("minus", "contrast(-1)", "Contrast-", id="contrast_down", show=False, tooltip="Less contrast"),
    Binding("l", "logarithm", "Log", id="log", show=False, tooltip="Logarithmic or linear picture"),
    Binding("m", "colours", "Colours", id="colours", show=False, tooltip="Next colour map"),
    Binding("o", "overlay", "Overlay", id="overlay", show=False, tooltip="Segmentation as tint, outline or not at all"),
    Binding("r", "rings", "Rings", id="rings", show=False, tooltip="Rings at q, at resolution d, or none"),
    Binding("i", "radial", "Radial", id="radial", show=False, tooltip="Radial profile, or not"),
    Binding("w", "whole", "Whole frame", id="whole", show=False, tooltip="Whole frame or the region shown"),
]
KEYS = [*TRYING, *DECIDING, *STEERING, *CLASSIFYING, *SEEING, *REPEATING, *LEARNING, *SURVEYING, *MOVING, *LOOKING]
SUBJECTS = (
    ("While a threshold is tried", TRYING),
    ("Decide", [*DECIDING, *CLASSIFYING, *REPEATING]),
    ("List, threshold, export", [*STEERING, *SEEING]),
    ("Learn", LEARNING),
    ("Runs, files and powder", SURVEYING),
    ("Move", MOVING),
    ("Picture", LOOKING),
)
"""All keys as help groups them."""


class KeyFooter(Line):
    """One line of keys; what was remapped shows its new key."""

    def on_mount(self) -> None:
        """Follow what can be done."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.redraw())
        self.call_after_refresh(self.redraw)

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self.redraw()

    def redraw(self) -> None:
        """Write the line anew."""
        keys: dict[str, tuple[list[str], str]] = {}
        order = {binding.id: place for place, binding in enumerate(KEYS)}
        found = [active for active in self.screen.active_bindings.values() if active.enabled]
        # What the application has for every screen comes last.
        found.sort(key=lambda active: (active.node is not self.screen, order.get(active.binding.id, len(order))))
        for binding in (active.binding for active in found):
            if binding.show and not binding.system:
                shown, _ = keys.setdefault(binding.action, ([], binding.description))
                shown.append(self.app.get_key_display(binding))
        width, used = self.size.width, 1
        parts = [Content(" ")]
        for shown, description in keys.values():
            needed = cells(shown[0]) + cells(description) + 3
            if used + needed <= width:
                used += needed
                parts += [Content.styled(shown[0], "bold $text-accent"), Content(f" {description}  ")]
        self.put(Content("").join(parts))
