"""The agent's doubt of its own source: services that are gone by inference go on to be offered for a while.

They keep the endpoints that they had last. What the source says of all others counts at once. A source that
has lost its services may have lost what came after them too: callers that were missing then stay as well, and
so do the gateways while it has none.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from clusters.changes import touched
from clusters.model import Offer, Workload
from clusters.names import ServiceName
from clusters.withheld import SHOWN, Withheld, is_doubtful
from federation.log import Log
from federation.sync import records
from gateway.delta import Catalogue

log = Log(__name__)

TICK: Final = 0.5

_Caller: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Held:
    names: frozenset[ServiceName]
    callers: frozenset[_Caller]
    since: datetime


class Withholding:
    """What *home* withholds, as the hub hears of it in *published*; each is believed after *hold*."""

    def __init__(self, home: str, hold: timedelta, published: Catalogue, now: Callable[[], datetime]) -> None:
        self._home = home
        self._hold = hold
        self._published = published
        self._now = now
        self._held: _Held | None = None
        self._followed = False

    @property
    def told(self) -> Withheld | None:
        """What is withheld now."""
        if self._held is None:
            return None
        names = sorted(map(str, self._held.names))
        until = self._held.since + self._hold
        return Withheld(self._home, self._held.since, until, len(names), tuple(names[:SHOWN]))

    def take(self, known: Offer, said: Offer) -> Offer:
        """What to offer when the source says *said*, and *known* was offered until now.

        A source that says of no service at all is taken for one that is lost: all stays as it was. If that
        comes while something is withheld it is another withdrawal, and nobody has accepted that one yet.
        """
        gone = {name for name in touched(known.services, said.services) if name not in said.services}
        missing = {_caller(w) for w in known.workloads} - {_caller(w) for w in said.workloads}
        emptied = not said.services
        inferred = not self._followed or emptied
        self._followed = True
        held = self._held
        more = held is not None and emptied and not gone <= held.names
        if more or (not held and inferred and self._hold and is_doubtful(len(gone), len(known.services))):
            self._hold_back(_Held(frozenset(gone), frozenset(missing), self._now()))
            log.warning("withdrawal doubted", services=len(gone), of=len(known.services))
        elif held is not None:
            self._hold_back(_Held(held.names & gone, held.callers & missing, held.since))
        if self._held is None:
            return said
        return known if emptied else _with(said, known, self._held)

    def ends(self, accepted: datetime | None) -> bool:
        """Whether what is withheld is to be believed now: its time is over, or *accepted* is its own.

        Then nothing is withheld any more, and what the source says counts.
        """
        if self._held is None:
            return False
        if accepted != self._held.since and self._now() < self._held.since + self._hold:
            return False
        log.warning("withdrawal believed", services=len(self._held.names), accepted=accepted is not None)
        self._hold_back(None)
        return True

    def _hold_back(self, held: _Held | None) -> None:
        self._held = held if held and held.names else None
        told = self.told
        encoded = records.encode(told) if told else None
        self._published.replace(records.WITHHELD, {encoded.name: encoded} if encoded else {})


def _with(said: Offer, known: Offer, held: _Held) -> Offer:
    """*said* with those services and callers of *known* that are *held*, and with gateways if it has none."""
    services = {name: service for name, service in known.services.items() if name in held.names}
    taken = {address for caller in said.workloads for address in caller.addresses}
    users = {caller.unix.uid for caller in said.workloads if caller.unix}
    callers = (_apart(w, taken, users) for w in known.workloads if _caller(w) in held.callers)
    return replace(
        said,
        services={**said.services, **services},
        workloads=(*said.workloads, *callers),
        gateways=said.gateways or known.gateways,
    )


def _apart(workload: Workload, taken: Set[str], users: Set[int]) -> Workload:
    """*workload* without what others are known by now: nobody is to be taken for two."""
    addresses = tuple(address for address in workload.addresses if address not in taken)
    unix = workload.unix if workload.unix and workload.unix.uid not in users else None
    return replace(workload, addresses=addresses, unix=unix)


def _caller(workload: Workload) -> _Caller:
    return workload.namespace, workload.name
