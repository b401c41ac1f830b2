"""`python -m benchmarks isolation`: nothing crosses between turns; and a state that they share is found."""

import pytest

from benchmarks.isolation.agents import PLANTS
from benchmarks.isolation.measure import isolated

TURNS = 600


async def test_nothing_crosses():
    found = await isolated(TURNS)

    assert found.crossed == []
    assert found.turns >= TURNS
    assert set(found.ends) == {"completed", "cancelled", "failed"}
    assert found.reloads >= 40


@pytest.mark.parametrize("plant", PLANTS)
async def test_a_planted_shared_state_is_found(plant):
    found = await isolated(TURNS, plant=plant)

    assert found.crossings
