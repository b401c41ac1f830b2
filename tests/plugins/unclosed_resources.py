"""What a module's tests leave unclosed fails the module, also when only the garbage collector finds it.

`filterwarnings = error` makes an error of a ResourceWarning. It is raised where nobody can catch it, in a finalizer;
pytest reports it as PytestUnraisableExceptionWarning, which is an error as well, in the test that runs at that time.
An object in a reference cycle is finalized by the garbage collector, at any time: without the collection here that is
a test of another module, or the end of the run.
"""

import gc
from collections.abc import Iterator

import pytest


def pytest_collection_finish() -> None:
    """Take what exists before the first test out of the collections: each takes milliseconds then."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def collected_garbage() -> Iterator[None]:
    yield
    gc.collect()
