"""How a long-running part keeps out of its own way."""

import ctypes
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from federation.lifecycle import give_back, keep_what_stays


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


def test_what_a_full_collection_found_to_stay_is_not_looked_through_again() -> None:
    keep_what_stays()
    gc.collect(1)
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize(("after", "most"), [(100, 2_500), (700, 15_000)])
def test_a_full_collection_has_little_to_look_at(after: int, most: int) -> None:
    looked_at, stays = list[int](), list[list[int]]()

    def look(phase: str, info: Mapping[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            looked_at.append(len(gc.get_objects()))

    keep_what_stays(after)
    # The next waits until there is a quarter of what the one before has looked at.
    gc.collect()
    gc.collect()
    gc.callbacks.insert(0, look)
    gc.enable()
    for number in range(50_000):
        stays.append([number])
    gc.disable()
    assert len(looked_at) > 3
    assert max(looked_at) < most


def resident() -> int:
    """The pages of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_free_pages_between_others_are_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(8_192) for _ in range(4_000)]
    for block in blocks:
        ctypes.memset(block, 1, 8_192)
    for block in blocks:
        if block is not blocks[-1]:
            libc.free(block)
    before = resident()
    give_back()
    libc.free(blocks[-1])
    assert before - resident() > 4_000
