"""What `fedgate gateways run` does: find out who this gateway and its agent are, then run it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from clusters.clock import utc_now
from clusters.enrol import RECORD_FILE, Enrolled, enrol, load_enrolment
from clusters.errors import InvalidValue
from clusters.model import VipRange
from clusters.reports import Phase, Report
from federation import paths
from federation.enrolled import kept_fresh, remote_agent
from federation.expelling import Expelling
from federation.reporting import Reporter, Tell, to_agent_beside, to_agent_elsewhere
from federation.severing import Ask, Severing, from_agent_beside, from_agent_elsewhere
from gateway import machine
from gateway.bootstrap import Agent, UnixAgent, admin_socket
from gateway.limits import LEAST_MEMORY
from gateway.netfilter import redirected
from gateway.probes import Lookout
from gateway.proxy import ProxySettings, run
from gateway.spec import CAPTURE_PORT, EVERYWHERE, Capture, GatewaySpec, Role
from gateway.tunnel_log import TunnelLog, reopening
from pki import keystore
from pki.tokens import TokenKind, parse_token

_DEFAULT_NAME: Final = "gateway"
_DEFAULT_ROLE: Final = "both"
_ENVOY_FOLDER: Final = "envoy"
_TUNNEL_LOG: Final = "tunnels.jsonl"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which gateway was asked for; None leaves it to the enrolment or to the default.

    With *token* it enrols first. Without, it is the gateway that enrolled in *state* before, or else
    one on the machine of its agent.
    """

    name: str | None = None
    role: str | None = None
    state: Path | None = None
    agent: Path | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the gateway is to run, whoever it is.

    `memory` is in bytes; it and `max_connections` are what the machine has to give where they are None.
    """

    capture: Capture
    listen: tuple[str, ...]
    port: int
    access_log: Path | None
    concurrency: int | None
    drain_timeout: float
    vip_ranges: tuple[str, ...] = ()
    capture_port: int = CAPTURE_PORT
    rules_in_place: bool = False
    memory: int | None = None
    max_connections: int | None = None


def run_gateway(asked: Asked, behaviour: Behaviour) -> None:
    """Run the gateway until it is told to stop. Two may not share one folder."""
    enrolled = enrolment(asked)
    folder = (_state(asked) if enrolled is None else enrolled.state / _ENVOY_FOLDER).absolute()
    with keystore.exclusive(folder), kept_fresh(enrolled) if enrolled else nullcontext() as renew:
        whole = settings(asked, behaviour, enrolled, folder)
        lookout = Lookout(admin_socket(folder), utc_now)
        tell = to_agent_elsewhere(enrolled, renew) if enrolled and renew else _to_agent_here(asked)
        told = Reporter(tell, first_report(whole.spec, behaviour), lookout.look)
        with captured(whole.spec, behaviour), ExitStack() as minding, told as reporter:
            mind(minding, whole, _ask(asked, enrolled), lookout, lambda: told.envoy)
            run(whole, reporter)


def mind(
    stack: ExitStack, whole: ProxySettings, ask: Ask, lookout: Lookout, envoy: Callable[[], int | None]
) -> None:
    """For as long as *stack* is open, end the connections that configuration does not."""
    if whole.spec.tunnel_log is None:
        stack.enter_context(Severing(ask, envoy, lookout))
        return
    tunnels = TunnelLog(Path(whole.spec.tunnel_log), reopening(admin_socket(whole.folder)))
    expelling = stack.enter_context(Expelling(tunnels, envoy))
    stack.enter_context(Severing(ask, envoy, lookout, expelling.expel))


def captured(spec: GatewaySpec, behaviour: Behaviour) -> AbstractContextManager[None]:
    """What has to be in place for calls to come, for as long as the gateway runs."""
    if spec.capture is not Capture.REDIRECT or not spec.is_egress or behaviour.rules_in_place:
        return nullcontext()
    ranges = [VipRange(cidr) for cidr in behaviour.vip_ranges]
    return redirected(spec.name, ranges, spec.capture_port)


def first_report(spec: GatewaySpec, behaviour: Behaviour) -> Report:
    """What the gateway says of itself before its Envoy runs."""
    ranges = tuple(VipRange(cidr).cidr for cidr in behaviour.vip_ranges)
    return Report(spec.name, Phase.STARTING, spec.is_egress, ranges, roles=tuple(sorted(spec.roles)))


def _to_agent_here(asked: Asked) -> Tell:
    return to_agent_beside(local_agent(asked.agent).with_name(paths.ADMIN_SOCKET))


def _ask(asked: Asked, enrolled: Enrolled | None) -> Ask:
    if enrolled is not None:
        return from_agent_elsewhere(enrolled)
    return from_agent_beside(local_agent(asked.agent).with_name(paths.ADMIN_SOCKET))


def settings(asked: Asked, behaviour: Behaviour, enrolled: Enrolled | None, folder: Path) -> ProxySettings:
    """Put together what Envoy is to be run as."""
    name = enrolled.enrolment.name if enrolled else asked.name or _DEFAULT_NAME
    role = enrolled.enrolment.role if enrolled else asked.role or _DEFAULT_ROLE
    roles = frozenset(Role) if role == "both" else frozenset({Role(role)})
    log = str(behaviour.access_log.absolute()) if behaviour.access_log else None
    spec = GatewaySpec(
        name,
        roles,
        behaviour.capture,
        behaviour.listen or EVERYWHERE,
        behaviour.port,
        log,
        capture_port=behaviour.capture_port,
        max_connections=behaviour.max_connections or machine.max_connections(),
        tunnel_log=str(folder / _TUNNEL_LOG) if Role.INGRESS in roles else None,
    )
    agent: Agent = remote_agent(enrolled) if enrolled else UnixAgent(local_agent(asked.agent))
    memory = behaviour.memory or machine.memory_limit()
    if memory < LEAST_MEMORY:
        raise InvalidValue("memory limit", f"{memory >> 20}M", f"want {LEAST_MEMORY >> 20}M at least")
    return ProxySettings(spec, agent, folder, behaviour.concurrency, behaviour.drain_timeout, memory)


def enrolment(asked: Asked) -> Enrolled | None:
    """Enrol, or find the enrolment that is there already; None for a gateway beside its agent."""
    if asked.token is not None:
        # Read here too, so that a token for somebody else is not spent.
        token = parse_token(asked.token, TokenKind.GATEWAY, datetime.now(UTC))
        _check_same(asked, token.subject, token.role)
        return enrol(asked.token, asked.state or paths.gateway_state(token.subject))
    if asked.agent is not None or not (_state(asked) / RECORD_FILE).exists():
        return None
    found = load_enrolment(_state(asked))
    _check_same(asked, found.enrolment.name, found.enrolment.role)
    return found


def local_agent(named: Path | None) -> Path:
    """The ADS socket of the agent *named* by its state folder or one of its sockets, or of this machine's."""
    if named is None:
        return paths.ads_socket(paths.agent_state()).absolute()
    if named.suffix != ".sock":
        return paths.ads_socket(named).absolute()
    return (paths.ads_socket(named.parent) if named.name == paths.ADMIN_SOCKET else named).absolute()


def _state(asked: Asked) -> Path:
    return asked.state or paths.gateway_state(asked.name or _DEFAULT_NAME)


def _check_same(asked: Asked, name: str, role: str) -> None:
    """A name or role that was asked for must be the one that the agent has given."""
    if asked.name not in (None, name):
        raise InvalidValue("gateway", asked.name, f"the token is for {name}; leave --name out")
    if asked.role not in (None, role):
        raise InvalidValue("role", asked.role, f"gateway {name} was given the role {role}; leave --role out")
