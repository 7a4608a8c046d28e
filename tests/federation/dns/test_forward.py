"""Passing questions on: whom to believe, whom to ask next, and when to give up."""

import asyncio
import socket

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from clusters.errors import InvalidValue
from federation.dns.forward import Forwarder, Upstream
from federation.dns.message import parse_query
from tests.federation.dns.upstream import FakeUpstream, address, refusing, truncated, upstream

TIMEOUT = 0.5


async def ask(
    *upstreams: FakeUpstream | Upstream, forwarder: Forwarder | None = None, name: str = "Example.com"
) -> dns.message.Message | None:
    """Ask for an address over a forwarder to *upstreams*."""
    asked = dns.message.make_query(name, "A", id=4711)
    to = [u if isinstance(u, Upstream) else Upstream(*u.address) for u in upstreams]
    wire = asked.to_wire()
    answer = await (forwarder or Forwarder(to, timeout=TIMEOUT)).ask(wire, parse_query(wire))
    if answer is None:
        return None
    response = dns.message.from_wire(answer)
    assert asked.is_response(response)
    return response


def addresses(response: dns.message.Message | None) -> list[str]:
    assert response is not None
    return [str(record) for rrset in response.answer for record in rrset]


@pytest.fixture
def nobody() -> Upstream:
    """A port that nobody listens on any more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return Upstream(*probe.getsockname())


async def test_an_upstream_may_have_an_ipv6_address_over_udp_and_tcp() -> None:
    async with upstream(lambda q: [truncated(q)], lambda q: [address(q, "192.0.2.1")], at="[::1]:0") as fake:
        assert addresses(await ask(fake)) == ["192.0.2.1"]


def test_an_upstream_is_an_address_with_or_without_a_port() -> None:
    assert Upstream.parse("192.0.2.1") == ("192.0.2.1", 53)
    assert Upstream.parse("[2001:DB8::1]:5353") == ("2001:db8::1", 5353)


def test_an_upstream_is_not_a_name_since_that_would_be_asked_here_again() -> None:
    with pytest.raises(InvalidValue, match="not an IPv4 or IPv6 address"):
        Upstream.parse("dns.example")


async def test_an_answer_comes_back_under_the_clients_id() -> None:
    async with upstream(lambda q: [address(q, "192.0.2.1")]) as fake:
        assert addresses(await ask(fake)) == ["192.0.2.1"]


async def test_each_question_leaves_under_another_id_from_another_port() -> None:
    async with upstream(lambda q: [address(q)]) as fake:
        for _ in range(8):
            await ask(fake)
        assert len({query.id for query, _ in fake.seen}) > 4
        assert len({port for _, port in fake.seen}) > 4


async def test_answers_under_another_id_or_to_another_question_are_not_believed() -> None:
    def forged_first(query: dns.message.Message) -> list[dns.message.Message]:
        wrong_id = address(query, "203.0.113.1")
        wrong_id.id ^= 1
        wrong_question = address(dns.message.make_query("example.net", "A", id=query.id), "203.0.113.2")
        return [wrong_id, wrong_question, query, address(query, "192.0.2.1")]

    async with upstream(forged_first) as fake:
        assert addresses(await ask(fake)) == ["192.0.2.1"]


async def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    many = {f"192.0.2.{i}" for i in range(100)}
    async with upstream(lambda q: [truncated(q)], lambda q: [address(q, *many)]) as fake:
        assert set(addresses(await ask(fake))) == many


async def test_tcp_that_ends_early_or_answers_something_else_is_no_answer() -> None:
    other = dns.message.make_query("example.net", "A")
    for over_tcp in (lambda _: [], lambda _: [address(other, "192.0.2.1")]):
        async with upstream(lambda q: [truncated(q)], over_tcp) as fake:
            assert await ask(fake) is None


async def test_a_dead_and_a_silent_upstream_are_passed_over(nobody: Upstream) -> None:
    async with upstream(lambda _: []) as silent, upstream(lambda q: [address(q, "192.0.2.1")]) as good:
        assert addresses(await ask(nobody, silent, good)) == ["192.0.2.1"]


async def test_the_one_that_answered_is_asked_first_the_next_time() -> None:
    async with upstream(lambda _: []) as silent, upstream(lambda q: [address(q, "192.0.2.1")]) as good:
        forwarder = Forwarder([Upstream(*silent.address), Upstream(*good.address)], timeout=TIMEOUT)
        for _ in range(3):
            assert addresses(await ask(forwarder=forwarder)) == ["192.0.2.1"]
        assert (len(silent.seen), len(good.seen)) == (1, 3)


async def test_an_upstream_that_cannot_tell_is_the_last_resort() -> None:
    async with (
        upstream(lambda q: [refusing(q, dns.rcode.SERVFAIL)]) as unable,
        upstream(lambda q: [refusing(q, dns.rcode.NXDOMAIN)]) as able,
    ):
        for upstreams, rcode in (((unable, able), dns.rcode.NXDOMAIN), ((unable,), dns.rcode.SERVFAIL)):
            response = await ask(*upstreams)
            assert response is not None
            assert response.rcode() == rcode


async def test_nobody_answers_when_nobody_is_there(nobody: Upstream) -> None:
    assert await ask(nobody) is None


async def test_more_questions_than_are_allowed_at_once_are_not_asked() -> None:
    async with upstream(lambda _: []) as silent:
        forwarder = Forwarder([Upstream(*silent.address)], timeout=TIMEOUT, at_once=1)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(ask(forwarder=forwarder))
        assert len(silent.seen) == 1
        await ask(forwarder=forwarder)
        assert len(silent.seen) == 2
