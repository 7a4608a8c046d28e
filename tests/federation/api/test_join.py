"""A cluster at the hub's door: the real join client against the real face, over TLS."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from clusters.errors import JoinRefused
from clusters.identity import has_joined, load_identity
from clusters.join import Joined, join
from clusters.names import ClusterName
from federation.api.http import served_on_tls, tls_context
from federation.api.join import Door, join_application
from federation.audit import Audit
from federation.errors import WrongFederation
from federation.hub_authority import CERTIFICATE, KEY, HubAuthority, open_or_create
from federation.registry.records import TokenRecord, TokenState
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from pki.errors import CannotUnseal, TokenAltered, TokenCut
from pki.lifetimes import HUB_CA_LIFETIME
from pki.tokens import Token, TokenKind, new_token, secret_hash
from tests import builders
from tests.authorities import NOW

WEST = ClusterName("west")


@dataclass
class Hub:
    """A hub's door, its clock, and how much newcomers are *ahead* of it."""

    authority: HubAuthority
    registry: Registry
    address: str
    now: datetime
    ahead: timedelta = timedelta()
    audit: Audit = field(default_factory=builders.audit)

    async def token(self, cluster: str = "west", ttl: timedelta = timedelta(minutes=15)) -> Token:
        made = new_token(
            TokenKind.JOIN, cluster, "fed.example", (self.address,), self.authority.pins, self.now + ttl
        )
        record = TokenRecord(made.id, secret_hash(made.secret), ClusterName(cluster), self.now, made.expires)
        await self.registry.tokens.add(record)
        return made

    async def state_of(self, token: Token) -> TokenState:
        (record,) = [t for t in await self.registry.tokens.list() if t.id == token.id]
        return record.state(self.now)

    async def join(self, line: str, state: Path, *, rejoin: bool = False) -> Joined:
        """Join as a machine of its own would, off this event loop."""
        return await asyncio.to_thread(
            join, line, state, rejoin=rejoin, timeout=5, clock=lambda: self.now + self.ahead
        )


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    state, now = tmp_path / "hub", datetime.now(UTC).replace(microsecond=0)  # TLS goes by the machine's clock
    state.mkdir(mode=0o700)
    authority = open_or_create(state, "fed.example", None, now, lambda: None)
    authority.write_certificate(state, ("127.0.0.1",), now)
    store = await SqliteStore.open(state / "registry.db")
    hub = Hub(authority, Registry(store, 100), "", now)
    sync = ("127.0.0.1:7444",)
    door = Door(authority, hub.registry, lambda: sync, ("241.0.0.0/16",), lambda: hub.now, hub.audit)
    tls = tls_context(state / CERTIFICATE, state / KEY)
    async with served_on_tls(join_application(door), "127.0.0.1", 0, tls) as port:
        hub.address = f"127.0.0.1:{port}"
        yield hub
    await store.close()


async def test_a_token_lets_a_cluster_in_once(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    joined = await hub.join(token.text, tmp_path / "west")
    assert joined.identity.membership.trust_domain == "west.fed.example"
    with pytest.raises(JoinRefused, match="used") as refused:
        await hub.join(token.text, tmp_path / "other")
    assert refused.value.code == "token-used"
    assert not has_joined(tmp_path / "other")


async def test_who_was_let_in_and_who_was_not_is_written_down(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    joined = await hub.join(token.text, tmp_path / "west")
    with pytest.raises(JoinRefused):
        await hub.join(token.text, tmp_path / "other")
    issued, denied = hub.audit.waiting
    serial = f"{joined.identity.authority.certificate.serial_number:x}"
    assert (issued.action, issued.subject, issued.actor) == ("issued", "west", "127.0.0.1")
    assert (issued.details["serial"], issued.details["token"]) == (serial, token.id)
    assert (denied.action, denied.subject, denied.details["code"]) == ("denied", "west", "token-used")
    assert token.secret not in str(hub.audit.waiting)


async def refused(hub: Hub, line: str, state: Path, *, rejoin: bool = False) -> JoinRefused:
    """The refusal of a join that must leave nothing behind."""
    with pytest.raises(JoinRefused) as caught:
        await hub.join(line, state, rejoin=rejoin)
    assert not has_joined(state)
    assert caught.value.hint
    return caught.value


async def test_of_two_that_race_with_one_token_one_wins(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    racers = [hub.join(token.text, tmp_path / name) for name in ("one", "two", "three")]
    ends = await asyncio.gather(*racers, return_exceptions=True)
    winners = [end for end in ends if isinstance(end, Joined)]
    assert len(winners) == 1
    assert {e.code for e in ends if isinstance(e, JoinRefused)} == {"token-used"}
    record = await hub.registry.members.get(WEST)
    winner = load_identity(next(p for p in tmp_path.iterdir() if p.name != "hub" and has_joined(p)))
    assert winner.authority.certificate == winners[0].identity.authority.certificate
    assert record.anchors[0].startswith(
        winner.authority.certificate.public_bytes(serialization.Encoding.PEM).decode()
    )


async def test_the_issuing_key_is_in_the_clusters_state_and_nowhere_at_the_hub(
    hub: Hub, tmp_path: Path
) -> None:
    await hub.join((await hub.token()).text, tmp_path / "west")
    key = (tmp_path / "west" / "issuing.key").read_bytes()
    body = b"".join(key.splitlines()[1:-1])
    assert all(body not in path.read_bytes() for path in (tmp_path / "hub").iterdir())


async def test_the_hub_keeps_of_a_token_only_a_hash(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "hub").glob("registry.db*"))
    assert secret_hash(token.secret).encode() in kept
    assert token.secret.encode() not in kept
    assert bytes.fromhex(token.secret) not in kept


async def test_an_expired_token_is_refused_by_the_hubs_clock_too(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token(ttl=timedelta(seconds=30))
    hub.now += timedelta(seconds=50)
    hub.ahead = -timedelta(seconds=40)
    assert (await refused(hub, token.text, tmp_path / "west")).code == "token-expired"


async def test_a_revoked_token_is_refused(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    await hub.registry.tokens.revoke(token.id, hub.now)
    assert (await refused(hub, token.text, tmp_path / "west")).code == "token-revoked"


async def test_a_token_for_another_cluster_is_refused_and_not_spent(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token("west")
    line = replace(token, subject="east").text
    assert (await refused(hub, line, tmp_path / "east")).code == "token-wrong-cluster"
    assert await hub.state_of(token) is TokenState.UNUSED


async def test_a_token_with_another_secret_is_refused_and_not_spent(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    line = replace(token, secret="00" * 20).text
    assert (await refused(hub, line, tmp_path / "west")).code == "secret-wrong"
    assert await hub.state_of(token) is TokenState.UNUSED


async def test_a_hub_of_another_root_never_sees_the_secret(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    line = replace(token, pins=("00" * 32,)).text
    assert (await refused(hub, line, tmp_path / "west")).code == "wrong-server"
    assert await hub.state_of(token) is TokenState.UNUSED


async def test_a_cut_token_and_an_altered_one_are_told_apart_without_asking_anybody(
    hub: Hub, tmp_path: Path
) -> None:
    line = (await hub.token()).text
    with pytest.raises(TokenCut):
        await hub.join(line[:-3], tmp_path / "west")
    swapped = "A" if line[-9] != "A" else "B"
    with pytest.raises(TokenAltered):
        await hub.join(line[:-9] + swapped + line[-8:], tmp_path / "west")


async def test_a_clock_that_is_a_minute_off_does_not_join(hub: Hub, tmp_path: Path) -> None:
    token = await hub.token()
    hub.ahead = timedelta(seconds=90)
    refusal = await refused(hub, token.text, tmp_path / "west")
    assert refusal.code == "clock-skew"
    assert await hub.state_of(token) is TokenState.UNUSED


async def test_a_taken_name_is_refused_and_the_token_stays_good_for_a_rejoin(
    hub: Hub, tmp_path: Path
) -> None:
    first = await hub.join((await hub.token()).text, tmp_path / "west")
    token = await hub.token()
    assert (await refused(hub, token.text, tmp_path / "new")).code == "cluster-exists"
    second = await hub.join(token.text, tmp_path / "new", rejoin=True)
    record = await hub.registry.members.get(WEST)
    assert len(record.anchors) == 1
    for joined, counts in ((first, False), (second, True)):
        pem = joined.identity.authority.certificate.public_bytes(serialization.Encoding.PEM).decode()
        assert record.anchors[0].startswith(pem) is counts


async def test_an_issuing_ca_is_bound_to_its_cluster(hub: Hub, tmp_path: Path) -> None:
    joined = await hub.join((await hub.token()).text, tmp_path / "west")
    certificate = joined.identity.authority.certificate
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.UniformResourceIdentifier("west.fed.example")]


def test_authorities_are_opened_again_and_not_with_another_passphrase_or_domain(tmp_path: Path) -> None:
    secret, made = b"correct horse", []
    first = open_or_create(tmp_path, "fed.example", secret, NOW, lambda: made.append(1))
    again = open_or_create(tmp_path, "fed.example", secret, NOW, lambda: made.append(1))
    assert (first.pins, made) == (again.pins, [1])
    with pytest.raises(WrongFederation):
        open_or_create(tmp_path, "other.example", secret, NOW, lambda: None)
    with pytest.raises(CannotUnseal):
        open_or_create(tmp_path, "fed.example", b"wrong", NOW, lambda: None)


def test_half_way_the_hub_ca_is_certified_anew_with_the_same_key(tmp_path: Path) -> None:
    first = open_or_create(tmp_path, "fed.example", None, NOW, lambda: None).hub_ca.certificate
    later = open_or_create(tmp_path, "fed.example", None, NOW + HUB_CA_LIFETIME * 0.6, lambda: None)
    renewed = later.hub_ca.certificate
    assert renewed.not_valid_after_utc > first.not_valid_after_utc
    assert renewed.public_key() == first.public_key()
