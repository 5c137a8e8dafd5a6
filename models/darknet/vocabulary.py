"""Sections and keys of a cfg: used, refused, or reported as ignored.

The tables hold every key that the parsers of Darknet read (`src/parser.c` of J. Redmon's and of A. Bochkovskiy's
versions) in the sections that can be built here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from photon_triage.models.common.errors import ModelError, ModelWarning
from photon_triage.models.darknet.cfg import Option, Section


def _by_section(table: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {name: frozenset(keys.split()) for name, keys in table.items()}


KEYS = _by_section(
    {
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
        "softmax": "groups temperature spatial",
        "cost": "type",
        "region": "anchors bias_match classes coords num softmax jitter rescore object_scale noobject_scale "
        "class_scale coord_scale thresh random absolute max",
        "yolo": "mask anchors classes num jitter ignore_thresh truth_thresh random max",
    }
)
"""The keys that are read, by section; `absolute`, `max` and `type` say what is done in any case."""

NEUTRAL: dict[str, dict[str, str]] = {
    "net": {"letter_box": "0", "time_steps": "1", "center": "0"},
    "convolutional": {
        "dilation": "1",
        "antialiasing": "0",
        "share_index": "",
        "cbn": "0",
        "binary": "0",
        "xnor": "0",
        "bin_output": "0",
        "sway": "0",
        "rotate": "0",
        "stretch": "0",
        "stretch_sway": "0",
        "flipped": "0",
        "coordconv": "0",
    },
    "maxpool": {"maxpool_depth": "0", "antialiasing": "0", "maxpool_zero_nonmax": "0"},
    "reorg": {"reverse": "0", "flatten": "0", "extra": "0"},
    "shortcut": {"weights_type": "none", "alpha": "1", "beta": "1"},
    "softmax": {"tree": ""},
    "region": {"background": "0", "classfix": "0", "tree": "", "map": ""},
    "yolo": {"new_coords": "0", "scale_x_y": "1", "nms_kind": "default greedynms", "map": ""},
}
"""Keys that change what a network computes, with the values at which they do not.

Any other value is refused; an empty text means that every value is.
"""

NEUTRAL_LOSS: dict[str, dict[str, str]] = {
    "region": {"focal_loss": "0"},
    "yolo": {
        "objectness_smooth": "0",
        "label_smooth_eps": "0",
        "iou_loss": "mse",
        "iou_thresh": "1",
        "iou_thresh_kind": "iou",
        "iou_normalizer": "1",
        "obj_normalizer": "1",
        "cls_normalizer": "1",
        "delta_normalizer": "1",
        "max_delta": "",
        "counters_per_class": "",
        "focal_loss": "0",
    },
}
"""The same for keys that change the loss of a detection head, and with it what training gives."""

LAYER_NEUTRAL = {"dontload": "0", "dontloadscales": "0", "dontsave": "0", "numload": "0"}
"""The same for keys that every layer may have: they change which numbers a `.weights` file holds."""

SAME_AS_STRIDE = ("stride_x", "stride_y")
"""Keys of convolutions and pools that are refused where they differ from `stride`."""

TRAINING = _by_section(
    {
        "net": "learning_rate_min sgdr_cycle sgdr_mult seq_scales track augment_speed sequential_subdivisions "
        "try_fix_nan weights_reject_freq equidistant_point badlabels_rejection_percentage num_sigmas_reject_badlabels "
        "ema_alpha loss_scale dynamic_minibatch adam B1 B2 eps blur gaussian_noise mixup cutmix mosaic mosaic_bound "
        "contrastive contrastive_jit_flip contrastive_color unsupervised label_smooth_eps resize_step attention "
        "adversarial_lr notruth random max_ratio min_ratio clip",
        "convolutional": "assisted_excitation dot angle grad_centr reverse",
        "crop": "angle saturation exposure shift",
        "dropout": "dropblock dropblock_size_rel dropblock_size_abs",
        "softmax": "noloss",
        "cost": "scale ratio noobj thresh",
        "region": "resize mask_scale",
        "yolo": "resize",
    }
)
"""Keys that change Darknet's own training alone: augmentation, optimiser, schedule, loss of a classifier."""

LAYER_TRAINING = frozenset(
    ["clip", "onlyforward", "dont_update", "burnin_update", "stopbackward", "train_only_bn", "learning_rate"]
)
LAYER_TRAINING |= {"smooth", "truth"}

WITHOUT_EFFECT = _by_section(
    {
        "net": "use_cuda_graph optimized_memory workspace_size_limit_MB max_chart_loss show_receptive_field",
        "convolutional": "stream wait_stream",
        "maxpool": "out_channels",
        "route": "stream wait_stream",
        "shortcut": "weights_normalization",
        "region": "log sqrt",
        "yolo": "show_details beta_nms track_history_size sim_thresh dets_for_track dets_for_show track_ciou_norm "
        "embedding_layer",
    }
)
"""Keys of memory, display and tracking, those that Darknet reads and never uses, and those that depend on others."""


class _Ignored(Enum):
    """Why a key is ignored, as the warning words it."""

    WITHOUT_EFFECT = "keys without effect"
    TRAINING = "keys that change Darknet's own training alone, which is not imitated"
    UNKNOWN = "keys that Darknet does not know and ignores (check the spelling)"
    REPEATED = "repeated keys, of which the first counts"


def check_vocabulary(sections: Sequence[Section]) -> None:
    """Raise ModelError for a section or key that cannot be built, and warn once of all keys that are ignored."""
    for section in sections:
        if section.name not in KEYS:
            raise ModelError(
                f"Cannot build {section.place}: no such layer.", f"Known: {', '.join(name for name in KEYS)}."
            )
    ignored: dict[_Ignored, list[str]] = {reason: [] for reason in _Ignored}
    for section in sections:
        for key, option in section.options.items():
            _refuse_change(section, key, option)
        for reason, key, line in sorted(_ignored(section), key=lambda found: found[2]):
            ignored[reason].append(f"{key} of [{section.name}] (line {line})")
    told = [f"{reason.value}: {', '.join(keys)}" for reason, keys in ignored.items() if keys]
    if told:
        warnings.warn(f"The cfg has {'; '.join(told)}.", ModelWarning, stacklevel=2)


def _refuse_change(section: Section, key: str, option: Option) -> None:
    """Raise ModelError for a key that changes the result here, unless its value does not."""
    neutral = _neutral_values(section, key)
    if neutral is None or any(_same(option.value, value) for value in neutral.split()):
        return
    is_loss = key in NEUTRAL_LOSS.get(section.name, {})
    allowed = f"Allowed: {' or '.join(neutral.split())}" if neutral else "Remove it"
    raise ModelError(
        f"Cannot use {key}={option.value} of [{section.name}] at line {option.line}: it changes "
        f"{'the loss that Darknet trains with' if is_loss else 'what Darknet computes'}, and is not supported.",
        f"{allowed}; {_LOSS_HINT if is_loss else _RESULT_HINT}",
    )


_LOSS_HINT = "weights that were trained with it give the same boxes without it."
_RESULT_HINT = "weights that were trained with it need it, and cannot be used."


def _neutral_values(section: Section, key: str) -> str | None:
    """The values at which a key changes nothing, with spaces between; None where it may have any."""
    if key in SAME_AS_STRIDE and section.name in ("convolutional", "maxpool"):
        stride = section.options.get("stride")
        return stride.value if stride else "1"
    if key == "inputs" and section.name == "net":
        extents = (section.integer("height", 1), section.integer("width", 1), section.integer("channels", 3))
        return str(extents[0] * extents[1] * extents[2])
    if key == "dilation" and section.integer("size", 1) == 1:
        return None
    if section.name != "net" and key in LAYER_NEUTRAL:
        return LAYER_NEUTRAL[key]
    return (NEUTRAL.get(section.name, {}) | NEUTRAL_LOSS.get(section.name, {})).get(key)


def _same(value: str, neutral: str) -> bool:
    try:
        return float(value) == float(neutral)
    except ValueError:
        return value == neutral


def _ignored(section: Section) -> Iterator[tuple[_Ignored, str, int]]:
    """Reason, key and line of everything in a section that is not read."""
    is_layer = section.name != "net"
    training = TRAINING.get(section.name, frozenset()) | (LAYER_TRAINING if is_layer else frozenset())
    for key, option in section.options.items():
        if key in KEYS[section.name]:
            continue
        if key in training:
            yield _Ignored.TRAINING, key, option.line
        elif key in WITHOUT_EFFECT.get(section.name, ()) or _is_checked(section, key):
            yield _Ignored.WITHOUT_EFFECT, key, option.line
        else:
            yield _Ignored.UNKNOWN, key, option.line
    for key, line in section.repeated:
        yield _Ignored.REPEATED, key, line


def _is_checked(section: Section, key: str) -> bool:
    """Whether `_refuse_change` has found the key's value to change nothing."""
    return key == "dilation" or _neutral_values(section, key) is not None
