"""How each endpoint stands that is checked, and what of an offer takes calls by that: pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from clusters.changes import touched
from clusters.health import HealthCheck, Standing, Verdict, after
from clusters.model import Offer
from clusters.names import ServiceName
from clusters.services import LocalService


class Checked(NamedTuple):
    """An endpoint that is checked, and how."""

    service: ServiceName
    address: str
    check: HealthCheck


class _Known(NamedTuple):
    checked: Checked
    standing: Standing


class Standings:
    """The endpoints of the services that ask for checks.

    What was found out about an endpoint counts until it is found out anew, also when its check is changed.
    """

    def __init__(self) -> None:
        self._services: Mapping[ServiceName, LocalService] = {}
        self._known: dict[ServiceName, dict[str, _Known]] = {}

    def follow(self, offer: Offer, now: datetime) -> list[Checked]:
        """Keep a standing for what is checked by *offer*; gives the endpoints that are new, or checked anew.

        An endpoint that *offer* itself says to be down was so when it was last asked: it is down until it
        answers. All others are believed.
        """
        before, self._services = self._services, offer.services
        due: list[Checked] = []
        for name in touched(before, offer.services):
            service, old = offer.services.get(name), self._known.pop(name, {})
            if service is None or service.health is None:
                continue
            known = self._known[name] = {}
            for address in service.endpoints:
                earlier = old.get(address)
                if earlier is not None and earlier.checked.check == service.health:
                    known[address] = earlier
                    continue
                checked = Checked(name, address, service.health)
                due.append(checked)
                standing = earlier.standing if earlier else _first(service, address, now)
                known[address] = _Known(checked, standing)
        return due

    def wants(self, checked: Checked) -> bool:
        """Whether this is the newest that `follow` gave for the endpoint."""
        known = self._known.get(checked.service, {}).get(checked.address)
        return known is not None and known.checked is checked

    def hear(self, checked: Checked, verdict: Verdict, now: datetime) -> bool:
        """Take in what a check has found; says whether the endpoint has turned."""
        if not self.wants(checked):
            return False
        known = self._known[checked.service]
        before = known[checked.address].standing
        standing = after(before, checked.check, verdict, now)
        known[checked.address] = _Known(checked, standing)
        return standing.ready != before.ready

    def applied(self, offer: Offer) -> Offer:
        """*offer* with every endpoint marked that is down."""
        marked = dict(offer.services)
        for name, known in self._known.items():
            down = tuple(address for address, (_, standing) in known.items() if not standing.ready)
            service = marked.get(name)
            if service is not None and service.down != down:
                marked[name] = replace(service, down=down)
        return replace(offer, services=marked)

    def of(self, service: ServiceName) -> Mapping[str, Standing]:
        """How each endpoint of *service* stands; empty for a service that is not checked."""
        return {address: standing for address, (_, standing) in self._known.get(service, {}).items()}

    def down(self) -> Iterator[tuple[ServiceName, str, Standing]]:
        """The endpoints that take no calls."""
        for name, known in self._known.items():
            for address, (_, standing) in known.items():
                if not standing.ready:
                    yield name, address, standing

    def count(self) -> dict[str, int]:
        """How many endpoints are in each state."""
        counted = {"ready": 0, "believed": 0, "down": 0}
        for known in self._known.values():
            for _, standing in known.values():
                counted[standing.state] += 1
        return counted


def _first(service: LocalService, address: str, now: datetime) -> Standing:
    if address in service.down:
        return Standing(False, now, "was down before the agent was started")
    return Standing(True, now)
