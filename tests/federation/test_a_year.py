"""A year passes: hub and agents renew what they have, tick by tick, by a clock that is set on and on."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from clusters.model import ClusterName
from federation.hub_authority import CERTIFICATE, HubAuthority, Vault, open_or_create
from federation.hub_certificate import HubCertificate
from federation.hub_upkeep import HubUpkeep
from pki.authority import Authority, from_pem
from pki.bundle import check_svid, fingerprint, spki_sha256
from pki.signer import Signer
from pki.spiffe import workload_id
from tests.authorities import NOW
from tests.builders import CLOUD, DOMAIN, ONPREM, audit
from tests.federation.renewing import World, federation

TICK = timedelta(hours=12)
DAY = timedelta(days=1)
HUB_AWAY = (100, 105)
CLOUD_AWAY = (200, 203)
SVIDS = timedelta(days=3)
"""With an hour, which needs a tick every few minutes, the year would take minutes too."""


class Counting:
    """A signer that counts."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.signatures = 0

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._signer.public_key()

    def sign(self, message: bytes) -> bytes:
        self.signatures += 1
        return self._signer.sign(message)


@dataclass
class Seen:
    """What the gateways of each cluster believe, and every issuing CA that there ever was."""

    held: dict[ClusterName, dict[ClusterName, list[x509.Certificate]]] = field(default_factory=dict)
    anchors: dict[str, x509.Certificate] = field(default_factory=dict)
    most: int = 0

    async def look(self, world: World, connected: list[ClusterName]) -> None:
        """The agents that are *connected* learn what counts, and their gateways acknowledge it."""
        known = {
            name: [from_pem(chain)[0] for chain in (await world.registry.members.get(name)).anchors]
            for name in world.members
        }
        for certificates in known.values():
            self.anchors |= {fingerprint(certificate): certificate for certificate in certificates}
            self.most = max(self.most, len(certificates))
        self.held |= dict.fromkeys(connected, known)
        await world.acknowledge(*connected)


async def test_a_year_passes_and_nothing_expires_and_nothing_is_signed_twice(tmp_path: Path) -> None:
    """Meanwhile the hub is away for five days, and then a whole cluster for three."""
    hub, signer = _hub(tmp_path / "hub")
    certificates = 1
    async with federation(tmp_path, hub) as world:
        shown = HubCertificate(tmp_path / "hub", hub, (), audit(), world.clock)
        vault = Vault(tmp_path / "hub")
        upkeep = HubUpkeep(vault, hub, shown, asyncio.Lock(), audit(), world.clock, lambda: True)
        onprem, cloud = [await world.join(name, svid_lifetime=SVIDS) for name in (ONPREM, CLOUD)]
        seen = Seen()
        while (passed := world.clock() - NOW) < 365 * DAY:
            hub_away, cloud_away = _within(passed, HUB_AWAY), _within(passed, CLOUD_AWAY)
            onprem.away, cloud.away = hub_away, hub_away or cloud_away
            for member in (onprem, cloud):
                if member.away:
                    world.anchoring.lost(member.name, world.clock())
                else:
                    world.anchoring.connected(member.name)
            await seen.look(world, [m.name for m in (onprem, cloud) if not m.away])
            if not hub_away:
                certificates += sum(i.what == "hub certificate" for i in (await upkeep.rotate()).done)
            for member in (onprem, cloud):
                await member.upkeep.tick()
            _everybody_believes_everybody(world, seen)
            check_svid((tmp_path / "hub" / CERTIFICATE).read_text(), [hub.root], DOMAIN, world.clock())
            world.clock.goes_on(TICK)
        await seen.look(world, [])  # what the last tick has signed
    assert len({spki_sha256(c) for c in seen.anchors.values()}) == len(seen.anchors)
    assert signer.signatures == len(seen.anchors) + certificates
    assert 2 * 365 / 8 < len(seen.anchors) < 2 * 365 / 6
    assert seen.most == 2
    assert hub.hub_ca.certificate.not_valid_before_utc > NOW + 300 * DAY


def _everybody_believes_everybody(world: World, seen: Seen) -> None:
    """A workload's certificate is good at every gateway, as far as that has heard."""
    now = world.clock()
    for name, member in world.members.items():
        trust_domain = f"{name}.{DOMAIN}"
        chain = member.svids.get(workload_id(trust_domain, "shop", "web"), now).chain_pem
        for held in seen.held.values():
            check_svid(chain, held[name], trust_domain, now)


def _hub(state: Path) -> tuple[HubAuthority, Counting]:
    state.mkdir()
    made = open_or_create(state, DOMAIN, None, NOW, lambda: None)
    signer = Counting(made.hub_ca.signer)
    hub_ca = Authority(made.hub_ca.certificate, (), signer)
    return HubAuthority(DOMAIN, made.root, hub_ca), signer


def _within(passed: timedelta, days: tuple[int, int]) -> bool:
    return days[0] * DAY <= passed < days[1] * DAY
