"""What the agent's admin API needs of the agent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from clusters.latest import Latest
from clusters.model import ClusterView
from clusters.reports import Notice, Report, ReportAnswer
from clusters.sources.file import Reading
from clusters.verdict import Verdict
from federation.agent_upkeep import Upkeep
from federation.api.verdicts import Rejected
from federation.dns.server import DnsServer
from federation.doubting import Doubting
from federation.fronts import Front
from federation.health.standings import Standings
from federation.inventory import Held
from federation.knowledge import Knowledge
from federation.revocations import Revocations
from federation.svids import Svid
from federation.sync.client import LinkState
from federation.withholding import Withholding
from federation.workload.server import WorkloadApi
from gateway.ads import GatewayStatus
from pki.spiffe import SpiffeId
from pki.tokens import Token


class Agent(Protocol):
    """What this face needs of the agent."""

    @property
    def view(self) -> ClusterView: ...
    @property
    def link(self) -> LinkState: ...
    @property
    def reading(self) -> Reading: ...
    @property
    def ready(self) -> bool: ...
    @property
    def notices(self) -> Latest[Notice]: ...
    @property
    def revocations(self) -> Revocations: ...
    def revoke(self, spiffe_id: SpiffeId, *, undo: bool = False) -> None: ...
    @property
    def verdicts(self) -> tuple[Verdict, ...]: ...
    @property
    def rejected(self) -> Rejected: ...
    def gateways(self) -> tuple[GatewayStatus, ...]: ...
    def fronts(self) -> tuple[Front, ...]: ...
    @property
    def standings(self) -> Standings: ...
    @property
    def checks_made(self) -> Mapping[str, int]: ...
    def svids(self) -> tuple[Svid, ...]: ...
    @property
    def workloads(self) -> WorkloadApi: ...
    def certificates(self) -> tuple[Held, ...]: ...
    def hear(self, report: Report) -> ReportAnswer: ...
    def create_gateway_token(self, name: str, role: str, ttl: timedelta) -> Token: ...
    async def leave(self) -> None: ...
    @property
    def upkeep(self) -> Upkeep: ...
    @property
    def knowledge(self) -> Knowledge: ...
    @property
    def withholding(self) -> Withholding: ...
    @property
    def doubting(self) -> Doubting: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while an agent runs."""

    trust_domain: str
    workload_socket: Path
    source: str
    forwards_to: tuple[str, ...]
    dns: DnsServer
    asked_for: Mapping[str, int]
    """How many SVIDs were issued by the issuance socket, and denied."""
