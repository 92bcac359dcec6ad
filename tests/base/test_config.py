"""Unknown keys are refused, with a suggestion only where one is near."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from transrec_core.base.config import StrictModel, first_problem, nearest


class Settings(StrictModel):
    steps: int = 3
    rate: float = 0.1


@pytest.mark.parametrize(
    ("key", "told"), [("stepps", "did you mean 'steps'?"), ("wholly_other", "there are: steps, rate")]
)
def test_an_unknown_key_is_told_in_one_line(key, told):
    with pytest.raises(ValidationError) as error:
        Settings.model_validate({key: 1})
    assert first_problem(error.value) == f"unknown key '{key}' in Settings; {told}"
    assert nearest(key, Settings.model_fields) == told


def test_a_wrong_value_is_told_with_its_field():
    with pytest.raises(ValidationError) as error:
        Settings.model_validate({"steps": "many"})
    assert first_problem(error.value) == "steps: should be a whole number, not 'many'"
