"""How long and how a run trains."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from transrec_core.base.config import StrictModel, first_problem
from transrec_core.base.errors import UserError
from transrec_core.data.batching import Loss

Cache = Literal["fp32", "fp16", "off"]


class StepSizes(StrictModel):
    """Peak learning rate of each part; a part that does not train is not touched. The defaults suit a
    pretrained encoder of usual size. One number in place of the mapping stands for all parts.

    Attributes:
        encoder: the backbone of the item encoder, or the table of item IDs.
        head: the map from pooled states to item vectors, an adapter's copy of it included.
        user: the user encoder.
        adapter: adapters.
    """

    encoder: float = Field(1e-4, ge=0)
    head: float = Field(1e-3, ge=0)
    user: float = Field(1e-3, ge=0)
    adapter: float = Field(1e-3, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, data: Any) -> Any:
        try:
            return data if isinstance(data, bool) else dict.fromkeys(cls.model_fields, float(data))
        except (TypeError, ValueError):
            return data


class TrainSpec(StrictModel):
    """How long and how a run trains.

    Attributes:
        steps: most optimiser steps.
        min_steps: early stopping waits for these (training may sit on a plateau first).
        eval_every: steps between validations.
        patience: validations without a better one before stopping.
        batch_size: users a step.
        loss: candidates ("catalogue", "batch", or "bce" with one negative for each position).
        lr: step sizes of AdamW, at their peak.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        warmup: steps until the peak.
        schedule: after the peak, "cosine" (down to zero) or "constant".
        precision: "fp32" or "bf16" (autocast of the training step and of the item vectors that validation
            ranks by).
        cache: states of frozen layers are computed once and kept, in single ("fp32", exact) or half precision
            ("fp16"), or not ("off").
        cache_gb: the most that they may take, in 10^9 bytes.
        checkpointing: the item encoder keeps its layers' inputs only and computes the rest again in the
            backward pass: the same gradient for less memory and more time.
        accumulate: the items of a batch are encoded in so many parts, one after the other: the same gradient
            for less memory and more time.
    """

    steps: int = Field(600, ge=1)
    min_steps: int = Field(200, ge=0)
    eval_every: int = Field(100, ge=1)
    patience: int = Field(6, ge=1)
    batch_size: int = Field(32, ge=1)
    loss: Loss = "batch"
    lr: StepSizes = StepSizes()
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(5.0, gt=0)
    warmup: int = Field(20, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    precision: Literal["fp32", "bf16"] = "fp32"
    cache: Cache = "fp32"
    cache_gb: float = Field(8.0, ge=0)
    checkpointing: bool = False
    accumulate: int = Field(1, ge=1)

    @field_validator("cache", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare off as false

    @model_validator(mode="after")
    def _budget_in_order(self) -> TrainSpec:
        if self.min_steps > self.steps:
            raise ValueError(f"min_steps={self.min_steps} is more than steps={self.steps}")
        return self

    def with_fields(self, **fields: Any) -> TrainSpec:
        """The same with other values.

        Args:
            fields: of this class. ``lr`` may be one number for all parts. If ``steps`` comes without
                ``min_steps``, ``min_steps`` is no more than it.

        Raises:
            UserError: if a field is unknown or its value is out of range.
        """
        if isinstance(fields.get("lr"), int | float):
            fields["lr"] = dict.fromkeys(StepSizes.model_fields, fields["lr"])
        values = self.model_dump() | fields
        if "min_steps" not in fields and isinstance(values["steps"], int):
            values["min_steps"] = min(values["min_steps"], values["steps"])
        try:
            return TrainSpec.model_validate(values)
        except ValidationError as error:
            raise UserError(first_problem(error)) from None

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at a step: linear warm-up, then cosine to zero or constant.

        Args:
            step: counted from 0.
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        rest = max(1, self.steps - self.warmup)
        # In this order: records and shipped source models rest on the last bit of every step size.
        return 0.5 * (1 + math.cos(math.pi * min(step - self.warmup, rest) / rest))
