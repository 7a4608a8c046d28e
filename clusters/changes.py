"""What is different between two states of a mapping, found without a look at most of it.

Of ten thousand entries a change replaces one. Whoever makes the new state of the old one keeps all others as
they are, the very same objects in the same order, so that asking which they are takes no hash and no
comparison of each.
"""

from collections.abc import Mapping
from itertools import compress, count, islice
from operator import is_not
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final = object()


def touched(before: Mapping[K, V], after: Mapping[K, V]) -> set[K]:
    """The keys that one of them lacks, or whose values are not the same object, though they may be equal."""
    if before is after:
        return set()
    shared = min(len(before), len(after))
    # Up to here both have the same keys in the same order.
    alike = next(compress(count(), map(is_not, before, after)), shared)
    different = set(compress(islice(after, alike), map(is_not, before.values(), after.values())))
    if alike == len(before) == len(after):
        return different
    was, now = (dict(islice(each.items(), alike, None)) for each in (before, after))
    keys = was.keys() | now.keys()
    return different | {key for key in keys if was.get(key, _ABSENT) is not now.get(key, _ABSENT)}


def renewed(before: Mapping[K, V], after: Mapping[K, V]) -> tuple[dict[K, V], set[K]]:
    """*after*, with the very objects of *before* wherever they are equal, and the keys where they are not."""
    made, different = dict(after), touched(before, after)
    for key in tuple(different):
        if key in before and key in after and before[key] == after[key]:
            made[key] = before[key]
            different.discard(key)
    return made, different
