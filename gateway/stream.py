"""The serving half of the delta discovery protocol: what to say next to a client that subscribes and answers.

A `Stream` is one connection. It is fed what the client says and what changed in the catalogue, and returns
the responses to send. It promises that

- at most one response of a kind is unanswered; what changes meanwhile is a set of names, never a queue,
  so a slow client skips to the newest state and memory stays bounded;
- a name asked for that does not exist is said to be absent at once, and is sent when it is born;
- what the client rejects is not sent again before it changes; a rejected response of many resources is sent
  again in halves, until what is bad stands alone and keeps nothing good from arriving;
- what is referred to is sent before what refers to it, and goes away after it.
"""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from gateway.delta import WILDCARD, KindStatus, Request, Resource, Response, Served, Standing
from gateway.flow import Flow

MAX_RESPONSE_BYTES = 1 << 20
MAX_NAMES = 10_000
_LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """How kinds depend on each other.

    `kinds` go out in that order, others after them. `companions` names the kind whose resource of the same
    name must follow whenever one is sent: Envoy does not use a cluster that it was sent anew before it hears
    of its endpoints, and does not ask for those that it has already. A removal waits until the client has
    answered for all of the `referrers` of its kind. Of a kind in `on_demand`, names that begin so are sent to
    who asks for them by name, and are not meant by who asks for everything.
    """

    kinds: tuple[str, ...] = ()
    companions: Mapping[str, str] = field(default_factory=dict)
    referrers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    on_demand: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Stream:
    """The serving half of one connection.

    It remembers up to *max_names* names of each kind that do not exist (yet); who asks for more of them is
    told once that they do not, and not even that while it leaves as many answers unheard.
    """

    def __init__(
        self,
        catalogue: Served,
        order: Order | None = None,
        *,
        max_names: int = MAX_NAMES,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self._catalogue = catalogue
        self._order = order or Order()
        self._max_names = max_names
        self._max_response_bytes = max_response_bytes
        # In sending order: Python keeps what is entered later, the kinds without an order, behind these.
        self._flows = {kind: Flow() for kind in (*self._order.kinds, *self._order.companions.values())}
        self._nonces = count(1)

    def receive(self, request: Request) -> list[Response]:
        """Take in what the client says; returns what is to be sent now."""
        flow = self._flows.setdefault(request.kind, Flow())
        if flow.begun:
            flow.answered(
                request.nonce,
                request.error[:_LONGEST_REASON],
                {name: why[:_LONGEST_REASON] for name, why in request.refused.items()},
            )
            self._subscribe(request.kind, flow, request.subscribe)
        else:
            self._begin(request, flow)
        self._unsubscribe(request.kind, flow, request.unsubscribe)
        return self.flush()

    def resume(self, kind: str, digest: str) -> list[Response] | None:
        """Begin *kind* with what changed since the client had everything with this *digest*.

        None if that is not known, or the kind has begun: then nothing happens.
        """
        flow = self._flows.setdefault(kind, Flow())
        former = self._catalogue.since(kind, digest)
        if flow.begun or former is None:
            return None
        flow.begin_since(former)
        return self.flush()

    def changed(self, kind: str, names: Set[str]) -> None:
        """Note that the catalogue's resources *names* are not what they were; `flush` sends them."""
        flow = self._flows.get(kind)
        if flow is None or not flow.begun:
            return
        if flow.wildcard:
            general = self._general(kind, names)
            flow.dirty |= general
            if flow.whole:
                for name in general:
                    flow.held.setdefault(name, self._catalogue.former(kind, name))
                if not self._catalogue.steady(kind):
                    self._spell_out(kind, flow)
        if flow.explicit:
            flow.dirty |= names & flow.explicit

    def flush(self) -> list[Response]:
        """What can be sent now: nothing for kinds with an unanswered response."""
        responses = []
        # Settled first, in all kinds: what is not owed any more must not hold up another kind's removals.
        for kind, flow in self._flows.items():
            if flow.outstanding is None and (flow.dirty or flow.held or not flow.whole):
                flow.settle(partial(self._catalogue.version, kind), self._catalogue.steady(kind))
        for kind, flow in self._flows.items():
            if flow.outstanding is None and (flow.dirty or flow.greeting_due):
                response = self._next_response(kind, flow)
                if response is not None:
                    responses.append(response)
        return responses

    @property
    def standing(self) -> Standing:
        """How the client stands with all its kinds taken together."""
        if any(flow.rejected for flow in self._flows.values()):
            return Standing.NACK
        if any(flow.dirty or flow.outstanding for flow in self._flows.values()):
            return Standing.STALE
        return Standing.SYNCED

    def status(self) -> dict[str, KindStatus]:
        """How far the client is, for each kind that it asked for."""
        return {
            kind: flow.status(sum(version is not None for version in self._held(kind, flow).values()))
            for kind, flow in self._flows.items()
            if flow.begun
        }

    def held(self, kind: str, prefix: str) -> dict[str, str]:
        """The version of each resource that the client has accepted, of those whose names begin so."""
        flow = self._flows.get(kind)
        held = self._held(kind, flow).items() if flow else ()
        return {name: version for name, version in held if version is not None and name.startswith(prefix)}

    def _held(self, kind: str, flow: Flow) -> Mapping[str, str | None]:
        """What the client has of *kind*, in full."""
        if not flow.whole:
            return flow.held
        return {**self._versions(kind), **flow.held}

    def _begin(self, request: Request, flow: Flow) -> None:
        """Take a stream's first request of a kind: without names it means everything.

        What the client says it still holds is not sent again, unless something that was sent on this stream
        waits for it.
        """
        asked = set(request.subscribe)
        flow.begun = True
        flow.wildcard = WILDCARD in asked or not asked
        flow.greeting_due = flow.wildcard and not request.initial_versions
        all_of_it = flow.wildcard and asked <= {WILDCARD} and not flow.awaited
        if all_of_it and request.initial_versions and self._catalogue.steady(request.kind):
            flow.begin_whole(request.initial_versions, self._versions(request.kind))
            return
        for name, version in request.initial_versions.items():
            if flow.wildcard or name in asked:
                flow.held[name] = version
        flow.explicit = asked & flow.held.keys()
        flow.dirty = set(flow.held)
        flow.demanded = flow.awaited & flow.held.keys()
        flow.awaited = set()
        if flow.wildcard:
            flow.dirty |= self._general(request.kind, self._catalogue.names(request.kind))
        self._subscribe(request.kind, flow, asked - flow.held.keys())

    def _subscribe(self, kind: str, flow: Flow, names: Collection[str]) -> None:
        """Owe the client an answer for each of *names*, also when it has heard of it before."""
        if names:
            self._spell_out(kind, flow)
        for name in names:
            if name == WILDCARD:
                if not flow.wildcard:
                    flow.wildcard = True
                    flow.dirty |= self._general(kind, self._catalogue.names(kind))
            else:
                # What exists is bounded by the catalogue; only what does not needs a bound of its own.
                if len(flow.explicit) < self._max_names or self._catalogue.get(kind, name) is not None:
                    flow.explicit.add(name)
                elif name not in flow.explicit:
                    flow.refused += 1
                    if len(flow.dirty) >= 2 * self._max_names:
                        continue
                flow.demand(name)

    def _unsubscribe(self, kind: str, flow: Flow, names: Collection[str]) -> None:
        if names:
            self._spell_out(kind, flow)
        for name in names:
            if name == WILDCARD:
                flow.wildcard = False
                for held in flow.held.keys() - flow.explicit:
                    flow.forget(held)
                flow.dirty &= flow.explicit | flow.demanded
            elif name in flow.explicit:
                flow.explicit.discard(name)
                if flow.wildcard and self._general(kind, {name}):
                    # The client has dropped it, though the wildcard still covers it.
                    flow.demand(name)
                else:
                    flow.forget(name)

    def _spell_out(self, kind: str, flow: Flow) -> None:
        """Note for each name what the client has of it: it may want some of them for themselves."""
        if flow.whole:
            flow.held, flow.whole = dict(self._held(kind, flow)), False

    def _versions(self, kind: str) -> Mapping[str, str]:
        """The version of all that everything means."""
        versions = self._catalogue.versions(kind)
        if kind not in self._order.on_demand:
            return versions
        return {name: versions[name] for name in self._general(kind, versions.keys())}

    def _general(self, kind: str, names: Set[str]) -> Set[str]:
        """Those of *names* that everything means."""
        asked_for = self._order.on_demand.get(kind)
        return {name for name in names if not name.startswith(asked_for)} if asked_for else names

    def _next_response(self, kind: str, flow: Flow) -> Response | None:
        """Gather what *flow* owes, up to a response's size; what does not fit stays dirty."""
        hold_removals = self._may_be_referred_to(kind)
        resources: list[Resource] = []
        removed: list[str] = []
        size = 0
        for name in sorted(flow.dirty):
            if flow.batch is not None and len(resources) + len(removed) >= flow.batch:
                break
            current = self._catalogue.get(kind, name)
            if current is not None:
                size += len(current.body)
                if resources and size > self._max_response_bytes:
                    break
                resources.append(current)
            elif hold_removals and name not in flow.demanded:
                continue
            else:
                removed.append(name)
        # New sets: one that was emptied keeps the room it once needed, and is slow to walk through.
        told = {resource.name for resource in resources}.union(removed)
        flow.dirty = flow.dirty - told
        flow.demanded = flow.demanded - told
        if not (resources or removed or flow.greeting_due):
            return None
        response = Response(kind, str(next(self._nonces)), tuple(resources), tuple(removed))
        flow.sent(response)
        self._demand_companions(kind, resources)
        return response

    def _may_be_referred_to(self, kind: str) -> bool:
        """Whether something that no longer refers to a removed resource of *kind* is still on its way."""
        referrers = [
            self._flows[other] for other in self._order.referrers.get(kind, ()) if other in self._flows
        ]
        return any(flow.dirty or flow.outstanding for flow in referrers)

    def _demand_companions(self, kind: str, resources: Iterable[Resource]) -> None:
        companion_kind = self._order.companions.get(kind)
        if companion_kind is None:
            return
        flow = self._flows[companion_kind]
        for resource in resources:
            if not flow.begun:
                flow.awaited.add(resource.name)
            elif resource.name in flow.explicit:
                flow.demand(resource.name)
