"""Which gateway it is, who its agent is, and when an enrolled one renews its certificate."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from clusters.clock import utc_now
from clusters.enrol import Enrolled, Enrolment
from clusters.errors import InvalidValue, JoinRefused
from clusters.reports import Notice
from federation.enrolled import pause, remote_agent, renew_for_ever
from federation.gateway_process import Asked, Behaviour, captured, enrolment, local_agent, mind, settings
from gateway import machine
from gateway.bootstrap import UnixAgent, admin_socket
from gateway.probes import Lookout
from gateway.spec import Capture, GatewaySpec, Role
from pki.rotation import Validity
from tests.gateway.test_sever import other

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
HOUR = Validity(NOON, NOON + timedelta(hours=1))
PLAIN = Behaviour(Capture.ANYIP, (), 15008, None, None, 30.0)


def enrolled(tmp_path: Path, ads: str = "192.0.2.7:15010", validity: Validity = HOUR) -> Enrolled:
    return Enrolled(
        Enrolment(
            name="edge",
            role="egress",
            domain="fed.example",
            trust_domain="west.fed.example",
            agent=("192.0.2.1:7446",),
            ads=ads,
        ),
        tmp_path,
        validity,
    )


@pytest.mark.parametrize(
    ("named", "socket"),
    [
        ("/state", "/state/ads.sock"),
        ("/state/admin.sock", "/state/ads.sock"),
        ("/run/elsewhere.sock", "/run/elsewhere.sock"),
    ],
)
def test_the_agent_is_found_by_its_folder_or_either_of_its_sockets(named: str, socket: str) -> None:
    assert local_agent(Path(named)) == Path(socket)


def test_a_gateway_beside_its_agent_is_what_was_asked_for_or_the_default(tmp_path: Path) -> None:
    asked = Asked(agent=tmp_path)
    whole = settings(asked, PLAIN, None, tmp_path / "gw")
    assert (whole.spec.name, whole.spec.roles) == ("gateway", frozenset(Role))
    assert whole.agent == UnixAgent(tmp_path / "ads.sock")
    assert whole.spec.tunnel_log == str(tmp_path / "gw" / "tunnels.jsonl")
    one = settings(Asked("gw-1", "ingress", agent=tmp_path), PLAIN, None, tmp_path / "gw")
    assert (one.spec.name, one.spec.roles) == ("gw-1", frozenset({Role.INGRESS}))


def test_a_gateway_takes_on_what_it_was_told_to_or_what_the_machine_can_bear(tmp_path: Path) -> None:
    asked, folder = Asked(agent=tmp_path), tmp_path / "gw"
    told = settings(asked, replace(PLAIN, memory=512 << 20, max_connections=7), None, folder)
    assert (told.memory, told.spec.max_connections) == (512 << 20, 7)
    left = settings(asked, PLAIN, None, folder)
    assert (left.memory, left.spec.max_connections) == (machine.memory_limit(), machine.max_connections())
    with pytest.raises(InvalidValue, match=r"1M.*64M at least"):
        settings(asked, replace(PLAIN, memory=1 << 20), None, folder)


def test_an_enrolled_gateway_is_what_its_agent_says(tmp_path: Path) -> None:
    made = settings(Asked(), PLAIN, enrolled(tmp_path), tmp_path / "envoy")
    assert (made.spec.name, made.spec.roles) == ("edge", frozenset({Role.EGRESS}))
    assert made.spec.tunnel_log is None
    assert made.agent == remote_agent(enrolled(tmp_path))


def test_the_agent_must_have_its_own_spiffe_id_at_the_address_that_it_gave(tmp_path: Path) -> None:
    agent = remote_agent(enrolled(tmp_path))
    assert (agent.host, agent.port) == ("192.0.2.7", 15010)
    assert agent.spiffe_id == "spiffe://west.fed.example/agent"


def test_an_agent_that_listens_everywhere_is_dialled_where_it_was_enrolled(tmp_path: Path) -> None:
    assert remote_agent(enrolled(tmp_path, "0.0.0.0:15010")).host == "192.0.2.1"


def test_a_state_without_an_enrolment_is_that_of_a_gateway_beside_its_agent(tmp_path: Path) -> None:
    assert enrolment(Asked(state=tmp_path)) is None


class World:
    """Time that passes only by waiting, and an agent that answers as told."""

    def __init__(self, until: datetime, ask: Callable[["World", Path], Enrolled]) -> None:
        self.now = NOON
        self.until = until
        self.asked: list[datetime] = []
        self._ask = ask

    def run(self, first: Enrolled) -> list[timedelta]:
        renew_for_ever(first, self._renew, lambda: self.now, self._wait)
        return [at - NOON for at in self.asked]

    def _renew(self, state: Path) -> Enrolled:
        self.asked.append(self.now)
        return self._ask(self, state)

    def _wait(self, seconds: float) -> bool:
        self.now += timedelta(seconds=seconds)
        return self.now > self.until


def test_a_certificate_is_renewed_at_about_half_of_its_time_again_and_again(tmp_path: Path) -> None:
    def give(world: World, state: Path) -> Enrolled:
        return enrolled(state, validity=Validity(world.now, world.now + timedelta(hours=1)))

    asked = World(NOON + timedelta(minutes=100), give).run(enrolled(tmp_path))
    assert len(asked) == 3
    assert timedelta(minutes=27) <= asked[0] <= timedelta(minutes=33)


def test_an_agent_that_does_not_answer_is_asked_again_ever_more_slowly(tmp_path: Path) -> None:
    def refuse(world: World, state: Path) -> Enrolled:
        raise JoinRefused("unreachable", "no agent answers")

    asked = World(NOON + timedelta(minutes=40), refuse).run(enrolled(tmp_path))
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(asked)]
    assert gaps[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_certificate_that_is_born_old_does_not_make_us_spin() -> None:
    assert pause(HOUR, NOON + timedelta(hours=5), 0.5) == 1.0


def test_calls_are_redirected_to_an_egress_that_shall_do_it_itself() -> None:
    ranges = ("241.0.0.0/16",)
    plain = replace(PLAIN, capture=Capture.REDIRECT, vip_ranges=ranges)
    egress = GatewaySpec("gw-1", frozenset({Role.EGRESS}), Capture.REDIRECT)
    ingress = GatewaySpec("gw-1", frozenset({Role.INGRESS}), Capture.REDIRECT)
    assert not isinstance(captured(egress, plain), nullcontext)
    for spec, behaviour in (
        (ingress, plain),
        (egress, replace(plain, rules_in_place=True)),
        (replace(egress, capture=Capture.ANYIP), PLAIN),
    ):
        assert isinstance(captured(spec, behaviour), nullcontext)


def test_who_is_revoked_is_expelled_from_the_ingress(tmp_path: Path) -> None:
    who = "spiffe://west.fed.example/ns/shop/sa/web"

    def ask(seen: str) -> Notice:
        if seen:
            time.sleep(0.2)  # as an agent keeps one waiting that has no news
        return Notice("1", revoked=(who,))

    whole = settings(Asked(agent=tmp_path), PLAIN, None, tmp_path)
    with other("127.0.0.1") as envoy, ExitStack() as minding:
        far, near = envoy.caller.getsockname(), envoy.caller.getpeername()
        line = {"far": "{}:{}".format(*far), "near": "{}:{}".format(*near), "who": who}
        (tmp_path / "tunnels.jsonl").write_text(json.dumps(line) + "\n")
        mind(minding, whole, ask, Lookout(admin_socket(tmp_path), utc_now), lambda: envoy.pid)
        assert envoy.says() == "over 2"
