"""One sync connection, without the wire: what I publish, and what I take from the other side."""

from collections.abc import Iterable, Mapping, Sequence, Set

from federation.errors import SyncRefused
from federation.sync.frames import Again, Ask, Tell
from gateway.delta import Request, Response, Served
from gateway.stream import Stream
from gateway.subscription import Subscription

# More than one cluster's services; an agent takes everything and names nothing.
_MAX_NAMES = 1_000


class Link:
    """Both directions of one connection.

    *takes* outlive it: they know what is held already. The other side may ask for what this one *publishes*;
    a kind that is not among that came with a newer fedgate, and there is none of it here. *by_digest* says in
    a word what is held, to a side that understands it.
    """

    def __init__(
        self,
        catalogue: Served,
        publishes: tuple[str, ...],
        takes: Iterable[Subscription],
        *,
        by_digest: bool = False,
    ) -> None:
        self._stream = Stream(catalogue, max_names=_MAX_NAMES)
        self._publishes = publishes
        self._takes = {subscription.kind: subscription for subscription in takes}
        self._by_digest = by_digest
        self._said_in_a_word: set[str] = set()

    @property
    def not_taken(self) -> Mapping[str, Mapping[str, str]]:
        """What the other side has not taken of what this one publishes: why, by kind and name."""
        return {kind: status.rejected for kind, status in self._stream.status().items() if status.rejected}

    def open(self) -> list[Ask]:
        """Subscribe to all that this side takes."""
        asked = [subscription.open(by_digest=self._by_digest) for subscription in self._takes.values()]
        self._said_in_a_word = {request.kind for request in asked if request.digest}
        return [Ask(request) for request in asked]

    def again(self, kind: str) -> Ask:
        """Say in full what is held of *kind*: the other side has not understood the word for it."""
        if kind not in self._said_in_a_word:
            raise SyncRefused("bad-frame", f"what is held of {kind!r} was said already")
        self._said_in_a_word.discard(kind)
        return Ask(self._takes[kind].open())

    def asked(self, request: Request) -> Sequence[Tell | Again]:
        """Answer the other side's request."""
        if request.kind not in self._publishes:
            return []
        if request.digest:
            told = self._stream.resume(request.kind, request.digest)
            return [Again(request.kind)] if told is None else [Tell(response) for response in told]
        return [Tell(response) for response in self._stream.receive(request)]

    def changed(self, kind: str, names: Set[str]) -> None:
        """Note a change in the catalogue; `flush` tells of it."""
        self._stream.changed(kind, names)

    def flush(self) -> list[Tell]:
        """What the other side can be told now."""
        return [Tell(response) for response in self._stream.flush()]

    def told(self, response: Response) -> None:
        """Check, before it is applied, that *response* is something this side takes."""
        if response.kind not in self._takes:
            raise SyncRefused("kind-unknown", f"nobody here asked for {response.kind!r}")

    def applied(self, response: Response, refused: Mapping[str, str]) -> Ask:
        """Acknowledge *response*, but for what was *refused*: why, by name."""
        return Ask(self._takes[response.kind].accept(response, refused))

    def rejected(self, response: Response, reason: str) -> Ask:
        """Reject *response*: nothing of it was applied."""
        return Ask(self._takes[response.kind].reject(response, reason))
