"""Each model request begins with the bytes of the last one, on every API: the prefix cache of a model server hits."""

import pytest

from benchmarks.prefix import APIS, CALLS, TURNS


@pytest.mark.parametrize("name", [name for name, _ in APIS])
async def test_each_request_begins_with_the_last_one(name):
    shares = (await dict(APIS)[name]()).shares()

    assert len(shares) == TURNS * (CALLS + 1) - 1
    assert shares == [1.0] * len(shares)
