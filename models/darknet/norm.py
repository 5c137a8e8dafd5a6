"""Batch-norm as Darknet computes it, which differs between its CPU and its CUDA build."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.common.errors import ModelError

NormForm = Literal["cpu", "cuda"]
"""How a running variance v divides: "cpu" by sqrt(v) + 1e-6, "cuda" by sqrt(v + 1e-5)."""

CPU_EPSILON = 1e-6
"""Added to the deviation by Darknet's CPU build."""

CUDA_EPSILON = 1e-5
"""Added to the variance by Darknet's CUDA build, and by both builds while training."""

NORM_MOMENTUM = 0.01
"""Weight of a new batch in the running mean and variance, as in Darknet."""


class BatchNorm(nn.BatchNorm2d):
    """Batch-norm that divides by a batch's sqrt(variance + 1e-5) in training, and as `form` says with running values.

    The forms move the heads of a YOLO network by about 1e-4 of their largest value. "cpu" is what Darknet's CPU build
    and, within 1e-6, OpenCV compute; "cuda" is what a network computes while it is trained.
    """

    def __init__(self, filters: int, form: NormForm = "cpu") -> None:
        super().__init__(filters, eps=CUDA_EPSILON, momentum=NORM_MOMENTUM)
        self.form = form

    def forward(self, input: Tensor) -> Tensor:
        """Normalise feature maps (batch, filters, height, width)."""
        if self.training or self.form == "cuda":
            return super().forward(input)
        assert self.running_mean is not None
        variance = self.deviation().square()
        return functional.batch_norm(input, self.running_mean, variance, self.weight, self.bias, eps=0.0)

    def deviation(self) -> Tensor:
        """What the running values divide by, (filters,)."""
        assert self.running_var is not None
        if self.form == "cuda":
            return torch.sqrt(self.running_var + CUDA_EPSILON)
        return torch.sqrt(self.running_var) + CPU_EPSILON


def checked_form(form: str) -> NormForm:
    """The form, if it is one; raises ModelError."""
    for known in get_args(NormForm):
        if form == known:
            return known  # type: ignore[no-any-return]
    raise ModelError(f"Cannot build a network with norm_form={form!r}.", f"Allowed: {', '.join(get_args(NormForm))}.")
