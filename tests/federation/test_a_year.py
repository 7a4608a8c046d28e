"""A year passes: hub and agents renew what they have, tick by tick, by a clock that is set on and on."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from clusters.names import ClusterName
from clusters.trust import Trust
from federation.errors import RolloverLags
from federation.hub_authority import CERTIFICATE, HubAuthority, Vault, open_or_create
from federation.hub_certificate import HubCertificate
from federation.hub_upkeep import HubUpkeep
from federation.registry.records import RolloverRecord
from federation.rollover.files import settle
from federation.rollover.parties import hub_party
from federation.rollover.phases import Step
from federation.rollover.steward import Steward
from federation.rollover.trusting import Trusting
from federation.workload.keyring import Keyring
from pki.authority import Authority, from_pem
from pki.bundle import check_svid, fingerprint, spki_sha256
from pki.jwt_keys import signing
from pki.signer import Signer
from pki.spiffe import workload_id
from tests.authorities import NOW
from tests.builders import CLOUD, DOMAIN, ONPREM, audit
from tests.federation.renewing import World, federation

TICK = timedelta(hours=12)
DAY = timedelta(days=1)
ROLLOVER = 97
HUB_AWAY = (100, 105)
CLOUD_AWAY = (200, 203)
SVIDS = timedelta(days=3)
"""With an hour, which needs a tick every few minutes, the year would take minutes too."""


@dataclass
class Tally:
    """How many signatures there were."""

    signatures: int = 0

    def counting(self, authority: Authority) -> Authority:
        """*authority*, with each of its signatures counted from now on."""
        return Authority(authority.certificate, authority.chain_above, Counting(authority.signer, self))


class Counting:
    """A signer that counts."""

    def __init__(self, signer: Signer, tally: Tally) -> None:
        self._signer = signer
        self._tally = tally

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._signer.public_key()

    def sign(self, message: bytes) -> bytes:
        self._tally.signatures += 1
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


@dataclass
class Rollover:
    """What hub and agents do for a rollover, a step at each tick, and on which days it came to which phase.

    TLS goes by the machine's clock, so the chain that proves is verified here as `Prover` has it verified.
    """

    world: World
    steward: Steward
    tally: Tally
    steps: list[float] = field(default_factory=list)

    async def tick(self, passed: timedelta) -> None:
        """Take a step of the rollover if it may be taken, and have those who hear of it do their part."""
        before = self.steward.rollover
        if not self.steps and passed >= ROLLOVER * DAY:
            await self.steward.start()
            coming = self.steward.authority.successor
            assert coming is not None
            self.steward.authority.successor = replace(coming, hub_ca=self.tally.counting(coming.hub_ca))
        elif before is not None:
            with suppress(RolloverLags):
                if await self.steward.resume() is Step.FINISH:
                    await self.steward.finish()
            await self._prove(before)
        if self.steward.rollover != before:
            self.steps.append(passed / DAY)
        told = await self.world.registry.federation()
        for name, member in self.world.members.items():
            if told is None or member.away:
                self.steward.trusting.lost(name, self.world.clock())
                continue
            await member.hear(told)
            self.steward.trusting.connected(name)
            self.steward.trusting.hear(name, {"roots": Trust(member.roots.hash)})

    async def _prove(self, rollover: RolloverRecord) -> None:
        """Whoever has the root that is to come, the hub too, sees that its chain is good by that alone."""
        (new,) = from_pem(rollover.new)
        proofs = await self.world.registry.rollovers.proofs(fingerprint(new))
        believing = [
            name for name, m in self.world.members.items() if new in m.roots.certificates and not m.away
        ]
        if self.steward.authority.successor is not None:
            for party in {hub_party("hub"), *believing} - proofs.keys():
                check_svid(
                    (self.steward.vault.state / "next-hub.pem").read_text(), [new], DOMAIN, self.world.clock()
                )
                await self.steward.prove(party, fingerprint(new))


async def test_a_year_passes_and_nothing_expires_and_nothing_is_signed_twice(tmp_path: Path) -> None:
    """Meanwhile one root takes over from another, in the middle of that the hub is away for five days, and
    later a whole cluster for three."""
    hub, tally = _hub(tmp_path / "hub")
    first_root = hub.root
    certificates = 1
    async with federation(tmp_path, hub) as world:
        shown = HubCertificate(tmp_path / "hub", hub, (), audit(), world.clock)
        vault = Vault(tmp_path / "hub")
        steward = Steward(
            vault,
            hub,
            shown,
            world.registry,
            Trusting(),
            ("",),
            audit(),
            world.clock,
            "hub",
            lambda: world.registry,
            lambda _: {},
        )
        rollover = Rollover(world, steward, tally)
        upkeep = HubUpkeep(vault, hub, shown, steward.lock, audit(), world.clock, lambda: True)
        onprem, cloud = [await world.join(name, svid_lifetime=SVIDS) for name in (ONPREM, CLOUD)]
        keyring, known = Keyring(onprem.state, onprem.trust_domain, now=world.clock), set[str]()
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
                renewed = [item.what for item in (await upkeep.rotate()).done]
                # One more is by the root that is to come, for others to prove that they trust it.
                certificates += renewed.count("hub certificate") * (2 if hub.successor else 1)
                await rollover.tick(passed)
            for member in (onprem, cloud):
                await member.upkeep.tick()
            await _a_jwt_key_signs_that_was_known_before(keyring, known, world.clock())
            _everybody_believes_everybody(world, seen)
            _hub_and_members_believe_each_other(world, hub, (tmp_path / "hub" / CERTIFICATE).read_text())
            world.clock.goes_on(TICK)
        await seen.look(world, [])  # what the last tick has signed
    assert len({spki_sha256(c) for c in seen.anchors.values()}) == len(seen.anchors)
    certificates += 1  # at the switch
    assert tally.signatures == len(seen.anchors) + certificates
    assert 2 * 365 / 8 < len(seen.anchors) < 2 * 365 / 6
    assert seen.most <= 3  # one more if the rollover comes while one takes over from another
    started, switched, finished = rollover.steps
    assert ROLLOVER <= started < switched < HUB_AWAY[0] < HUB_AWAY[1] <= finished < HUB_AWAY[1] + 2
    for roots in (onprem.roots, cloud.roots, settle(vault, DOMAIN, None, world.clock())):
        assert roots.certificates == (hub.root,) != (first_root,)
    assert hub.hub_ca.certificate.not_valid_before_utc > NOW + 300 * DAY


def _everybody_believes_everybody(world: World, seen: Seen) -> None:
    """A workload's certificate is good at every gateway, as far as that has heard."""
    now = world.clock()
    for name, member in world.members.items():
        trust_domain = f"{name}.{DOMAIN}"
        chain = member.svids.get(workload_id(trust_domain, "shop", "web"), now).chain_pem
        for held in seen.held.values():
            check_svid(chain, held[name], trust_domain, now)


def _hub_and_members_believe_each_other(world: World, hub: HubAuthority, shown: str) -> None:
    """Also while they have not heard of the newest root."""
    now = world.clock()
    for member in world.members.values():
        check_svid(shown, member.roots.certificates, DOMAIN, now)
        check_svid(member.own_svid().chain_pem, hub.certificates, member.trust_domain, now)


async def _a_jwt_key_signs_that_was_known_before(keyring: Keyring, known: set[str], now: datetime) -> None:
    """All but the very first are known for a tick at least; that they are is what *known* keeps."""
    await keyring.rotate()
    signs = signing(keyring.keys, now)
    assert signs is not None
    assert signs.key_id in known or not known
    known.update(key.key_id for key in keyring.keys)


def _hub(state: Path) -> tuple[HubAuthority, Tally]:
    state.mkdir()
    made, tally = open_or_create(state, DOMAIN, None, NOW, lambda: None), Tally()
    return HubAuthority(DOMAIN, made.root, tally.counting(made.hub_ca)), tally


def _within(passed: timedelta, days: tuple[int, int]) -> bool:
    return days[0] * DAY <= passed < days[1] * DAY
