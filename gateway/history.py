"""What everything of a kind was like not long ago: so that who comes back can say what it has in a word.

The word is a digest of all names with their versions: the sum of their hashes, so that a change costs the
hashes of what changed and no look at the rest. Whoever lies about it is told too little himself.
"""

from collections import deque
from collections.abc import Mapping, Set
from hashlib import blake2b
from typing import Final

from gateway.delta import Catalogue

_MOST_NAMES: Final = 4_096
_MODULUS: Final = 1 << 128


def digest_of(versions: Mapping[str, str]) -> str:
    """The digest of everything, by name the version."""
    return _written(sum(_share(name, version) for name, version in versions.items()))


class History:
    """The newest changes of one *kind* in *catalogue*, of so many names at most."""

    def __init__(self, catalogue: Catalogue, kind: str, most: int = _MOST_NAMES) -> None:
        self._catalogue = catalogue
        self._kind = kind
        self._most = most
        self._total = int(digest_of(catalogue.versions(kind)), 16)
        self._changes: deque[tuple[str, Mapping[str, str | None]]] = deque()
        self._names = 0
        catalogue.listen(self._changed)

    @property
    def digest(self) -> str:
        """That of everything as it is now."""
        return _written(self._total)

    def since(self, digest: str) -> Mapping[str, str | None] | None:
        """What changed since everything had this *digest*: each name with the version that it had then.

        None if that is not known (any more).
        """
        if digest == self.digest:
            return {}
        former: dict[str, str | None] = {}
        for before, changed in reversed(self._changes):
            former |= changed  # what was before counts, not what came in between
            if before == digest:
                return former
        return None

    def _changed(self, kind: str, names: Set[str]) -> None:
        if kind != self._kind:
            return
        former = {name: self._catalogue.former(kind, name) for name in names}
        self._changes.append((self.digest, former))
        self._names += len(former)
        while self._changes and self._names > self._most:
            self._names -= len(self._changes.popleft()[1])
        gone = sum(_share(name, version) for name, version in former.items())
        come = sum(_share(name, self._catalogue.version(kind, name)) for name in former)
        self._total += come - gone


def _written(total: int) -> str:
    return f"{total % _MODULUS:032x}"


def _share(name: str, version: str | None) -> int:
    """What one resource adds to the digest; nothing if there is none."""
    if version is None:
        return 0
    return int.from_bytes(blake2b(f"{name}\0{version}".encode(), digest_size=16).digest())
