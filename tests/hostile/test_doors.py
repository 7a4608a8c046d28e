"""The doors at which strangers knock: joining, enrolling, and answers of a hub that is not what it seems."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from clusters.admission import ENROL_PATH, JOIN_PATH, RENEW_PATH, EnrolRequest
from clusters.decoding import UNDECODABLE
from clusters.errors import JoinRefused
from clusters.identity import ClusterIdentity, Membership
from clusters.join import Joined, join_over
from clusters.latest import Latest
from clusters.model import VipRange
from clusters.names import ClusterName
from clusters.pinned import Connection, Server
from clusters.reports import REPORT_PATH, Notice, Phase, Report, ReportAnswer
from federation.api.enrol import Enrolment, enrol_application
from federation.api.gateways import gateways_document
from federation.api.http import ApiError
from federation.api.join import Door, join_application
from federation.fronts import Fronts
from federation.hub_authority import HubAuthority, open_or_create
from federation.identity import Identity
from federation.registry import keyspace
from federation.registry.ledger import everything
from federation.registry.records import TokenRecord
from federation.registry.registry import Registry
from federation.registry.sqlite import SqliteStore
from federation.registry.store import Delete, Put
from pki import profile
from pki.authority import to_pem
from pki.csr import make_csr
from pki.profile import HUB_DNS_NAME
from pki.signer import KeySigner
from pki.spiffe import hub_id
from pki.tokens import TokenKind, new_token, secret_hash
from tests import builders
from tests.authorities import NOW, Authorities
from tests.builders import DOMAIN
from tests.hostile.strategies import Value, damaged, documents, hostile

CSR: Final = make_csr(ec.generate_private_key(ec.SECP256R1()))
TRUST_DOMAIN: Final = f"west.{DOMAIN}"
GOOD: Final = (200, 400, 403, 404, 405, 409, 411, 413, 415)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


# --- joining ------------------------------------------------------------------------------------


class Hub:
    """A hub's door, with one token that nobody has used."""

    client: TestClient[Request, Application]

    def __init__(self, authority: HubAuthority, store: SqliteStore) -> None:
        self.store = store
        self.registry = Registry(store, 100)
        self.door = Door(
            authority,
            self.registry,
            lambda: ("127.0.0.1:7444",),
            ("241.0.0.0/16",),
            lambda: NOW,
            builders.audit(),
        )

    async def open(self) -> None:
        await self.registry.tokens.add(
            TokenRecord("0123", secret_hash("ab" * 20), ClusterName("west"), NOW, NOW + timedelta(hours=1))
        )
        self.client = TestClient(TestServer(join_application(self.door)))
        await self.client.start_server()

    async def written(self) -> dict[str, bytes]:
        """All that is in the registry."""
        return {item.key: item.value async for item in everything(self.store, keyspace.ROOT)}


@pytest.fixture(scope="module")
def hub(runner: asyncio.Runner) -> Iterator[Hub]:
    with TemporaryDirectory(prefix="fg-") as folder:
        authority = open_or_create(Path(folder), DOMAIN, None, NOW, lambda: None)
        made = Hub(authority, runner.run(SqliteStore.open(Path(folder) / "registry.db")))
        runner.run(made.open())
        yield made
        runner.run(made.client.close())
        runner.run(made.store.close())


# The right token, but its secret: the door stays shut whatever else is said.
JOINS: Final[tuple[Value, ...]] = tuple(
    {
        "token_id": token,
        "secret": "00" * 20,
        "cluster": "west",
        "csr": CSR,
        "version": "1.0",
        "clock": NOW.isoformat(),
        "protocol": 1,
        "rejoin": rejoin,
    }
    for token, rejoin in (("0123", False), ("4567", True))
)


async def posted(
    client: TestClient[Request, Application], path: str, body: bytes
) -> tuple[int, dict[str, object]]:
    """The answer to *body*: it must be one that the code knows of, and in its one form."""
    async with client.post(path, data=body, headers={"Content-Type": "application/json"}) as response:
        answer = msgspec.json.decode(await response.read(), type=dict[str, object])
        assert response.status in GOOD, (response.status, answer)
        assert response.status == 200 or answer.keys() == {"error"}
        return response.status, answer


@hostile(60)
@given(body=documents(JOINS))
def test_who_has_no_token_changes_nothing_at_the_hub(runner: asyncio.Runner, hub: Hub, body: bytes) -> None:
    async def knock() -> None:
        before = await hub.written()
        status, _ = await posted(hub.client, JOIN_PATH, body)
        assert status != 200
        assert await hub.written() == before

    runner.run(knock())


# With the right secret: what else is said may spoil the join, and then the token is not spent.
ENTITLED: Final[tuple[Value, ...]] = tuple(
    {**each, "secret": "ab" * 20} for each in JOINS if isinstance(each, dict)
)


@hostile(40)
@given(body=documents(ENTITLED))
def test_a_join_happens_whole_or_not_at_all(runner: asyncio.Runner, hub: Hub, body: bytes) -> None:
    async def knock() -> None:
        before = await hub.written()
        status, answer = await posted(hub.client, JOIN_PATH, body)
        after = await hub.written()
        if status != 200:
            assert after == before
            return
        assert answer["trust_domain"] == TRUST_DOMAIN
        # Undone, for the next one.
        changed = [Put(key, value) for key, value in before.items() if after.get(key) != value]
        await hub.store.commit([*changed, *(Delete(key) for key in after.keys() - before.keys())])

    runner.run(knock())


# --- enrolling ----------------------------------------------------------------------------------


class Agent:
    """An agent's door, with one token for a gateway, and what has been reported to it."""

    client: TestClient[Request, Application]

    def __init__(self, pki: Authorities) -> None:
        signer = KeySigner.generate()
        authority = pki.hub_ca.subordinate(profile.issuing_ca(TRUST_DOMAIN), signer, NOW)
        membership = Membership(ClusterName("west"), DOMAIN, TRUST_DOMAIN, ("192.0.2.1:7444",), ())
        self.identity = ClusterIdentity(membership, authority, signer, (pki.root.certificate,))
        self.enrolment = Enrolment(Identity(self.identity), pki.roots, lambda: NOW, builders.audit())
        self.reports: list[Report] = []

    async def open(self) -> None:
        membership = self.identity.membership
        notices = Latest(Notice())
        app = enrol_application(self.enrolment, membership, lambda: "192.0.2.1:1", self._hear, notices)
        self.client = TestClient(TestServer(app))
        await self.client.start_server()

    def _hear(self, report: Report) -> ReportAnswer:
        self.reports.append(report)
        return ReportAnswer()


PKI: Final = Authorities()
ENROLMENTS: Final[tuple[Value, ...]] = tuple(
    {"token_id": token, "secret": "00" * 20, "name": "gw-1", "role": "egress", "csr": CSR}
    for token in ("TOKEN", "other")
)
REPORTS: Final[tuple[Value, ...]] = (
    {
        "name": "gw-1",
        "phase": "up",
        "egress": True,
        "vip_ranges": ["241.0.0.0/24"],
        "restarts": 3,
        "last_end": "signal 9",
    },
)


@pytest.fixture(scope="module")
def agent(runner: asyncio.Runner) -> Iterator[Agent]:
    made = Agent(PKI)
    runner.run(made.open())
    yield made
    runner.run(made.client.close())


@hostile(60)
@given(
    path=st.sampled_from((ENROL_PATH, RENEW_PATH, REPORT_PATH)),
    body=st.one_of(documents(ENROLMENTS), documents(REPORTS)),
)
def test_a_stranger_gets_no_certificate_and_reports_nothing(
    runner: asyncio.Runner, agent: Agent, path: str, body: bytes
) -> None:
    status, _ = runner.run(posted(agent.client, path, body))
    assert status != 200
    assert agent.reports == []


@hostile(40)
@given(body=documents(ENROLMENTS))
def test_an_enrolment_happens_whole_or_not_at_all(runner: asyncio.Runner, agent: Agent, body: bytes) -> None:
    token = agent.enrolment.create("gw-1", "egress", timedelta(hours=1), ("192.0.2.1:7446",))
    right = body.replace(b"TOKEN", token.id.encode()).replace(b"00" * 20, token.secret.encode())
    status, answer = runner.run(posted(agent.client, ENROL_PATH, right))
    request = EnrolRequest(token.id, token.secret, "gw-1", "egress", CSR)
    if status == 200:
        assert answer["trust_domain"] == TRUST_DOMAIN
        with pytest.raises(ApiError, match="used"):
            agent.enrolment.redeem(request)
    else:
        assert agent.enrolment.redeem(request)


@hostile(100)
@given(body=documents(REPORTS))
def test_a_report_is_read_whole_or_not_at_all(body: bytes) -> None:
    fronts = Fronts((Report("gw-2", Phase.UP),))
    try:
        report = msgspec.json.decode(body, type=Report)
    except UNDECODABLE:
        return
    ranges = (VipRange("241.0.0.0/24"), VipRange("241.0.1.0/24"))
    fronts.hear(report, 1.0)
    fronts.watch(2.0)
    assert set(fronts.answered(ranges)) <= set(ranges)
    gateways_document((), fronts.all())


# --- a hub that is not what it seems --------------------------------------------------------------

SIGNER: Final = KeySigner.generate()
CHAIN: Final = [to_pem([c]) for c in PKI.issuing_ca("west").chain]
ANSWERS: Final[tuple[Value, ...]] = (
    {
        "cluster": "west",
        "domain": DOMAIN,
        "trust_domain": TRUST_DOMAIN,
        "chain": list(CHAIN),
        "roots": [PKI.root_pem],
        "sync": ["192.0.2.1:7444", "[::1]:1"],
        "vip_ranges": ["241.0.0.0/16", "fd5f:ed:6a7e::/112"],
        "now": NOW.isoformat(),
    },
    {"error": {"code": "token-used", "message": "the token was used", "hint": "make another"}},
)
HEADS: Final = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jun 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n",
    b"HTTP/1.1 403 Forbidden\r\nDate: Fri, 31 Dec 9999 23:59:59 -2359\r\n",
    b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 0001 00:00:00 +2359\r\nConnection: close\r\n",
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """What a hub may say on a connection: its head, its body, or all of it tampered with."""
    body = draw(documents(ANSWERS))
    head = draw(st.sampled_from(HEADS) | damaged(HEADS))
    length = b"Content-Length: %d\r\n" % draw(st.sampled_from((len(body), len(body), len(body), 0, 1 << 40)))
    return draw(st.sampled_from((head + length + b"\r\n" + body, head + b"\r\n" + body, body)))


def heard(answer: bytes) -> Joined:
    """Join at a hub of which *answer* is all that comes."""
    token = new_token(
        TokenKind.JOIN, "west", DOMAIN, ("192.0.2.1:7443",), ("ab" * 32,), NOW + timedelta(hours=1)
    )
    ours, theirs = socket.socketpair()
    with closing(HTTPConnection("192.0.2.1", 7443)) as http, theirs, ours:
        ours.settimeout(5)
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        http.sock = ours
        server = Server("hub", hub_id(DOMAIN), token.addresses, HUB_DNS_NAME)
        connection = Connection(server, "192.0.2.1:7443", http, (PKI.root.certificate,))
        return join_over(connection, token, False, "1.0", lambda: NOW)


@hostile(60)
@given(answers())
def test_a_hostile_hub_can_only_make_a_join_fail(answer: bytes) -> None:
    # The issuing CA in these answers is for another key than the one that this join made.
    with pytest.raises(JoinRefused):
        heard(answer)
