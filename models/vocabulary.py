"""Which sections and keys of a cfg are understood."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from photon_triage.models.cfg import Section
from photon_triage.models.errors import ModelError, ModelWarning

KEYS: dict[str, frozenset[str]] = {
    name: frozenset(keys.split())
    for name, keys in {
        "net": "batch subdivisions width height channels momentum decay angle saturation exposure hue aspect flip "
        "min_crop max_crop learning_rate burn_in power policy steps scales step scale gamma max_batches",
        "convolutional": "filters size stride pad padding groups activation batch_normalize",
        "maxpool": "size stride padding",
        "avgpool": "",
        "crop": "crop_height crop_width flip noadjust",
        "route": "layers groups group_id",
        "reorg": "stride",
        "shortcut": "from activation",
        "upsample": "stride scale",
        "dropout": "probability",
        "softmax": "groups temperature",
        "cost": "type",
        "region": "anchors bias_match classes coords num softmax jitter rescore object_scale noobject_scale "
        "class_scale coord_scale absolute thresh random max",
        "yolo": "mask anchors classes num jitter ignore_thresh truth_thresh random max",
    }.items()
}
"""The keys of each section that has a meaning here; `absolute` and `max` say what is done in any case."""


def check_vocabulary(sections: Sequence[Section]) -> None:
    """Raise ModelError for a section that is not known, and warn once of all keys that have no effect."""
    for section in sections:
        if section.name not in KEYS:
            raise ModelError(
                f"Cannot build {section.place}: no such layer.", f"Known: {', '.join(name for name in KEYS)}."
            )
    without_effect = [
        f"{key} of [{section.name}] (line {line}{repeated})"
        for section in sections
        for key, line, repeated in _without_effect(section)
    ]
    if without_effect:
        warnings.warn(f"The cfg has keys without effect: {', '.join(without_effect)}.", ModelWarning, stacklevel=2)


def _without_effect(section: Section) -> list[tuple[str, int, str]]:
    unknown = [(key, option.line, "") for key, option in section.options.items() if key not in KEYS[section.name]]
    return sorted(unknown + [(key, line, ", repeated") for key, line in section.repeated], key=lambda found: found[1])
