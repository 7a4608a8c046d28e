"""How a long-running part keeps out of its own way."""

import gc
from collections.abc import Iterator
from itertools import count

import pytest

from federation.lifecycle import keep_what_stays


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Other tests may have run something of it in this process, and collections may come by themselves."""
    before = tuple(gc.callbacks)
    gc.callbacks.clear()
    gc.disable()
    gc.unfreeze()
    yield
    gc.callbacks[:] = before
    gc.enable()
    gc.unfreeze()


@pytest.mark.parametrize(("took", "kept"), [(1.0, True), (0.001, False)])
def test_what_took_long_to_look_through_is_not_looked_through_again(took: float, kept: bool) -> None:
    keep_what_stays(count(step=took).__next__)
    gc.collect(1)
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert (gc.get_freeze_count() > 0) is kept
