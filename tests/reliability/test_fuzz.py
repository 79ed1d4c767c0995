"""A few inputs of every target of the fuzzer."""

import pytest

from reliability.fuzz.trial import list_targets, load_target, try_index

INPUTS = 100
SEED = 7


@pytest.mark.slow
@pytest.mark.parametrize("name", list_targets())
def test_a_few_inputs_show_nothing(name: str) -> None:
    target = load_target(name)
    inputs = getattr(target, "FEW", max(int(INPUTS * target.SHARE), 5))
    found = [try_index(name, SEED, index) for index in range(inputs)]
    assert [f"{one.target}:{one.index} {one.kind}\n{one.details}" for one in found if one] == []
