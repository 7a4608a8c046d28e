"""How long each kind of certificate is good, unless somebody says otherwise. Nothing heavy is imported here.

root 10 years > hub CA 90 days >= hub 90 days, issuing CA 14 days > SVID 1 hour

None outlives its issuer: a hub's certificate ends with the hub CA that signed it, which is at most 90 days.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pki.errors import UnusableLifetime

ROOT_LIFETIME: Final = timedelta(days=3652)
HUB_CA_LIFETIME: Final = timedelta(days=90)
HUB_LIFETIME: Final = timedelta(days=90)
ISSUING_CA_LIFETIME: Final = timedelta(days=14)
SVID_LIFETIME: Final = timedelta(hours=1)

GRACE: Final = timedelta(days=7)
"""How long after the end of a cluster's issuing CA the hub still takes its key's word for who it is."""

SHORTEST: Final = timedelta(seconds=5)
"""Certificates count in whole seconds: what lives shorter could not be renewed in time."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what a hub signs is good. Nothing that is signed may be meant to outlive its issuer's half."""

    hub_ca: timedelta = HUB_CA_LIFETIME
    hub: timedelta = HUB_LIFETIME
    issuing_ca: timedelta = ISSUING_CA_LIFETIME

    def __post_init__(self) -> None:
        for kind, span in (("hub CA", self.hub_ca), ("hub certificate", self.hub)):
            check_lifetime(kind, span)
        check_lifetime("issuing CA", self.issuing_ca)
        if 2 * self.issuing_ca > self.hub_ca:
            reason = f"the hub CA lives for {self.hub_ca}, and what it signs must fit into half of that"
            raise UnusableLifetime("issuing CA", self.issuing_ca, reason)


def check_lifetime(kind: str, span: timedelta) -> None:
    """Refuse a lifetime that no certificate of *kind* can have."""
    if not SHORTEST <= span <= ROOT_LIFETIME:
        reason = f"want {SHORTEST.total_seconds():g} s to {ROOT_LIFETIME.days} days"
        raise UnusableLifetime(kind, span, reason)
