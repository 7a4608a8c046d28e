"""Certificates that somebody with a key of the cluster might show: what Envoy, we and OpenSSL say of each.

Each case is a function whose docstring draws the chain, with what is believed in brackets. The ingress is a
real one, and its member `onprem` has two anchors: one that is good, and one that has ended.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki import profile
from pki.authority import Authority, sign, to_pem
from pki.bundle import check_svid
from pki.errors import PkiError
from pki.profile import Profile
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, gateway_id, workload_id
from tests.pki.openssl import openssl_objection
from tests.pki.test_bundle import edited
from tests.system.mesh import Cluster, Pki, mesh

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("certificate-cases")]

ONPREM = "onprem.fed.example"
CART = workload_id(ONPREM, "shop", "cart")
THEIRS = workload_id("cloud.fed.example", "shop", "cart")
ALL = {"Envoy", "we", "OpenSSL"}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Shown:
    """A chain, and the key of its first certificate."""

    chain: tuple[x509.Certificate, ...]
    key: KeySigner


@dataclass(frozen=True, slots=True)
class World:
    """The ingress of `cloud`, and the authorities of `onprem` that it has been told to believe."""

    ingress: Cluster
    issuing: Authority
    ended: Authority
    now: datetime

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        return (self.issuing.certificate, self.ended.certificate)

    def mint(self, described: Profile, by: Authority | None = None, at: timedelta = timedelta()) -> Shown:
        """Sign without asking whether one may, as whoever has stolen the key would."""
        issuer, key = by or self.issuing, KeySigner.generate()
        made = sign(
            described, key.public_key(), issuer=issuer.certificate, signer=issuer.signer, now=self.now + at
        )
        return Shown((made, *issuer.chain), key)

    def changed(self, *changes: tuple[x509.ExtensionType, bool]) -> Shown:
        """A good SVID, but for *changes* to its extensions."""
        good = self.mint(profile.svid(CART))
        return Shown(tuple(edited(good.chain, self.issuing, *changes)), good.key)

    def authority(self, described: Profile) -> Authority:
        """An authority below the issuing CA, which must have none."""
        made = self.mint(described)
        return Authority(made.chain[0], made.chain[1:], made.key)

    async def refused_by(self, shown: Shown, folder: Path) -> set[str]:
        """Who does not take *shown* for a workload of `onprem`."""
        refused = set[str]()
        if not await dialled(self.ingress, shown, folder):
            refused.add("Envoy")
        try:
            check_svid(to_pem(shown.chain), self.anchors, ONPREM, self.now)
        except PkiError:
            refused.add("we")
        if openssl_objection(folder, shown.chain, self.anchors, self.now, purpose="sslclient"):
            refused.add("OpenSSL")
        return refused


async def dialled(ingress: Cluster, shown: Shown, folder: Path) -> bool:
    """Whether the ingress talks to who shows *shown*."""
    pem = folder / "client.pem"
    pem.write_bytes(shown.key.private_pem() + to_pem(shown.chain).encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2"])
    gateway = ingress.member.gateways[0]
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                gateway.addresses[0], gateway.port, ssl=context, server_hostname=ONPREM
            )
            # Who is refused hears of that after the handshake, and others have their settings answered.
            writer.write(_PREFACE)
            said = await reader.read(9)
            writer.close()
            return said != b""
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cases")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(folder: Path) -> AsyncIterator[World]:
    async with mesh(folder) as built:
        cloud, onprem = built["cloud"], built["onprem"]
        pki = Pki()
        key, long_ago = KeySigner.generate(), pki.now - timedelta(days=15)
        root = replace(profile.issuing_ca(ONPREM), lifetime=timedelta(days=14))
        ended = sign(root, key.public_key(), issuer=None, signer=key, now=long_ago)
        world = World(cloud, onprem.authority, Authority(ended, (), key), pki.now)
        believed = replace(onprem.member, anchors=tuple(to_pem([anchor]) for anchor in world.anchors))
        cloud.publish_members({**cloud.view.members, onprem.name: believed})
        await cloud.settled()
        yield world


Case = Callable[[World], Shown]


def uri(spiffe_id: SpiffeId) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(str(spiffe_id))


def leaf(*names: x509.GeneralName) -> Profile:
    return replace(profile.svid(CART), names=names)


def good(world: World) -> Shown:
    """[issuing CA] ── SVID"""
    return world.mint(profile.svid(CART))


def foreign_trust_domain(world: World) -> Shown:
    """[onprem's issuing CA] ── cloud's ID"""
    return world.mint(profile.svid(THEIRS))


def sub_host(world: World) -> Shown:
    """[onprem's issuing CA] ── x.onprem.fed.example"""
    return world.mint(profile.svid(workload_id(f"x.{ONPREM}", "shop", "cart")))


def dns_name_added(world: World) -> Shown:
    """[issuing CA] ── SVID + hub.fedgate.internal"""
    return world.mint(leaf(uri(CART), x509.DNSName("hub.fedgate.internal")))


def path_too_long(world: World) -> Shown:
    """[issuing CA] ── another CA ── SVID"""
    return world.mint(profile.svid(CART), by=world.authority(profile.issuing_ca(ONPREM)))


def foreign_id_by_an_authority_below(world: World) -> Shown:
    """[onprem's issuing CA] ── another CA, for anybody ── cloud's ID"""
    free = replace(profile.issuing_ca(ONPREM), constraints=None)
    return world.mint(profile.svid(THEIRS), by=world.authority(free))


def two_authorities_below(world: World) -> Shown:
    """[issuing CA] ── another CA ── one more CA ── SVID"""
    free = replace(profile.issuing_ca(ONPREM), path_length=None)
    first = world.authority(free)
    made = world.mint(free, by=first)
    return world.mint(profile.svid(CART), by=Authority(made.chain[0], made.chain[1:], made.key))


def expired_issuer(world: World) -> Shown:
    """[ended issuing CA] ── SVID that is said to be good"""
    key, validity = KeySigner.generate(), profile.svid(CART)
    # Signed as if by an issuer that goes on, with the name and the key of the one that has ended.
    issuer = world.ended.certificate
    going_on = sign(
        replace(profile.issuing_ca(ONPREM), lifetime=timedelta(days=14)),
        world.ended.signer.public_key(),
        issuer=None,
        signer=world.ended.signer,
        now=world.now,
    )
    assert going_on.subject == issuer.subject
    made = sign(validity, key.public_key(), issuer=going_on, signer=world.ended.signer, now=world.now)
    return Shown((made,), key)


def not_yet_valid(world: World) -> Shown:
    """[issuing CA] ── SVID of tomorrow"""
    return world.mint(profile.svid(CART), at=timedelta(days=1))


def expired(world: World) -> Shown:
    """[issuing CA] ── SVID that ended a minute ago"""
    made = world.mint(profile.svid(CART, timedelta(minutes=1)), at=-timedelta(minutes=2))
    assert made.chain[0].not_valid_after_utc < world.now
    return made


def wrong_purpose(world: World) -> Shown:
    """[issuing CA] ── SVID for signing code"""
    return world.changed((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False))


def an_authority(world: World) -> Shown:
    """[issuing CA] ── SVID that is a CA"""
    return world.changed((x509.BasicConstraints(True, None), True))


def two_ids(world: World) -> Shown:
    """[issuing CA] ── cart's ID + the gateway's"""
    return world.mint(leaf(uri(CART), uri(gateway_id(ONPREM, "egress", "gw"))))


def two_ids_one_of_them_foreign(world: World) -> Shown:
    """[onprem's issuing CA] ── onprem's ID + cloud's"""
    return world.mint(leaf(uri(CART), uri(THEIRS)))


def a_gateways_id_by_a_workloads_key(world: World) -> Shown:
    """[issuing CA] ── SVID ── egress gateway"""
    made = world.mint(profile.svid(CART))
    workload = Authority(made.chain[0], made.chain[1:], made.key)
    return world.mint(profile.svid(gateway_id(ONPREM, "egress", "gw")), by=workload)


def an_anchor_of_nobodys(world: World) -> Shown:
    """another root ── hub CA ── another issuing CA for onprem ── SVID"""
    return world.mint(profile.svid(CART), by=Pki().issuing_ca(ONPREM))


REFUSED: dict[Case, set[str]] = {
    good: set(),
    foreign_trust_domain: ALL,
    sub_host: ALL,
    dns_name_added: ALL,
    path_too_long: ALL,
    foreign_id_by_an_authority_below: ALL,
    two_authorities_below: ALL,
    expired_issuer: ALL,
    not_yet_valid: ALL,
    expired: ALL,
    wrong_purpose: ALL,
    # Only who has the issuing key can make these two, and it could make an SVID for each name instead.
    an_authority: {"we", "OpenSSL"},
    two_ids: {"we"},
    two_ids_one_of_them_foreign: ALL,
    a_gateways_id_by_a_workloads_key: ALL,
    an_anchor_of_nobodys: ALL,
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
async def test_what_each_verifier_says(case: Case, world: World, tmp_path: Path) -> None:
    assert await world.refused_by(case(world), tmp_path) == REFUSED[case]


@pytest.mark.asyncio(loop_scope="module")
async def test_an_anchor_that_was_taken_away_vouches_for_nobody(world: World, tmp_path: Path) -> None:
    """[issuing CA], and then [another]"""
    shown = good(world)
    assert await dialled(world.ingress, shown, tmp_path)
    members = world.ingress.view.members
    other = Pki().issuing_ca(ONPREM)
    (onprem,) = [member for member in members.values() if member.trust_domain == ONPREM]
    world.ingress.publish_members(
        {**members, onprem.name: replace(onprem, anchors=(to_pem([other.certificate]),))}
    )
    await world.ingress.settled()
    assert not await dialled(world.ingress, shown, tmp_path)
    assert await dialled(world.ingress, world.mint(profile.svid(CART), by=other), tmp_path)
    world.ingress.publish_members(members)
    await world.ingress.settled()
