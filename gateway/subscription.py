"""The asking half of the delta discovery protocol, for a client that wants everything of a kind.

Whoever uses it applies each `Response`, all of it or nothing, and then says here how that went. It remembers
versions only, so that after a broken connection nothing is sent twice and what is gone is told.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.delta import Request, Response
from gateway.history import digest_of

_MUCH: Final = 100


class Subscription:
    """What we have of one *kind*; outlives the connections over which we ask."""

    def __init__(self, kind: str, held: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._held = dict(held or {})

    @property
    def held(self) -> Mapping[str, str]:
        """The version that we have of each name."""
        return self._held

    def open(self, *, by_digest: bool = False) -> Request:
        """Ask, first thing on a new connection, for what differs from what we have.

        *by_digest* says in a word what that is, if it is much; the other side may want to know it in full.
        """
        if by_digest and len(self._held) > _MUCH:
            return Request(self.kind, digest=digest_of(self._held))
        return Request(self.kind, initial_versions=dict(self._held))

    def accept(self, response: Response, refused: Mapping[str, str] = MappingProxyType({})) -> Request:
        """Say that *response* was applied, but for what was *refused*: of that we stay with what we have."""
        for name, version in response.versions.items():
            if name in refused:
                continue
            if version is None:
                self._held.pop(name, None)
            else:
                self._held[name] = version
        return Request(self.kind, nonce=response.nonce, refused=dict(refused))

    def reject(self, response: Response, reason: str) -> Request:
        """Say that nothing of *response* was applied, and why: we stay with what we have."""
        return Request(self.kind, nonce=response.nonce, error=reason or "rejected without a reason")
