"""How long and how a run trains: fields in order, and the short forms that fit() takes."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from transrec_core.base.errors import UserError
from transrec_core.base.hashing import content_hash
from transrec_core.training.spec import StepSizes, TrainSpec


def test_a_budget_out_of_order_is_refused():
    with pytest.raises(ValidationError, match="min_steps=7 is more than steps=6"):
        TrainSpec(steps=6, min_steps=7)


def test_short_forms_of_fields():
    assert TrainSpec().with_fields() == TrainSpec()
    assert TrainSpec().with_fields(steps=100).min_steps == 100  # it follows
    assert TrainSpec().with_fields(steps=1000).min_steps == 200
    assert TrainSpec(min_steps=50).with_fields(steps=100).min_steps == 50
    assert TrainSpec().with_fields(lr=0.5).lr == StepSizes(encoder=0.5, head=0.5, user=0.5, adapter=0.5)
    assert TrainSpec().with_fields(lr={"adapter": 0.5}).lr == StepSizes(adapter=0.5)
    assert TrainSpec(loss="bce").with_fields(patience=2) == TrainSpec(loss="bce", patience=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stepps": 100}, "unknown key 'stepps' in TrainSpec; did you mean 'steps'?"),
        ({"steps": 0}, "steps: .* greater than or equal to 1"),
        ({"steps": "many"}, "steps: should be a whole number, not 'many'"),
        ({"steps": 6, "min_steps": 7}, "min_steps=7 is more than steps=6"),
        ({"lr": -1.0}, "lr.encoder: .* greater than or equal to 0"),
    ],
)
def test_a_wrong_field_is_named_in_a_line(fields, message):
    with pytest.raises(UserError, match=message) as problem:
        TrainSpec().with_fields(**fields)
    assert "\n" not in str(problem.value)


def test_defaults_are_part_of_what_records_are_called():
    assert content_hash(TrainSpec().model_dump(mode="json")) == "f1e8aba7a6fc"


def test_step_sizes_rise_and_fall_and_stay_at_nothing():
    spec = TrainSpec(steps=10, min_steps=0, warmup=2)
    factors = [spec.factor(step) for step in range(13)]
    assert factors[:3] == [0.5, 1.0, 1.0] and factors[6] == pytest.approx(0.5)
    assert all(a > b for a, b in zip(factors[2:10], factors[3:11], strict=True))
    assert factors[10:] == [0.0, 0.0, 0.0]
    constant = TrainSpec(steps=10, min_steps=0, warmup=0, schedule="constant")
    assert [constant.factor(step) for step in (0, 9)] == [1.0, 1.0]


@pytest.mark.parametrize("steps", [300, 500, 800, 1200])
def test_the_schedule_is_the_same_to_the_last_bit(steps):
    """A step size that differs in its last bit gives other weights after some hundred steps."""
    spec = TrainSpec(steps=steps, warmup=20)
    for step in range(20, steps):
        assert spec.factor(step) == 0.5 * (1 + math.cos(math.pi * (step - 20) / (steps - 20)))
