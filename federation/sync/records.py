"""What crosses between hub and agent, as resources: kinds, names, and bodies of JSON.

A field that is unknown here came with a newer fedgate and is ignored; one that is missing has its default.
"""

from typing import Final, TypeAlias, TypeVar

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.errors import ClusterError
from clusters.foreign import TrustBundle
from clusters.jwt_key import JwtKeys
from clusters.model import Export, Federation, GatewayRecord, Import, Member
from clusters.reports import Anchors, Probes
from clusters.revoked import Revoked
from clusters.trust import Trust
from clusters.verdict import Verdict
from clusters.withheld import Withheld
from federation.errors import UnreadableRecord
from gateway.delta import Resource

EXPORT: Final = "fedgate.v1.Export"
GATEWAY: Final = "fedgate.v1.Gateway"
FEDERATION: Final = "fedgate.v1.Federation"
MEMBER: Final = "fedgate.v1.Member"
IMPORT: Final = "fedgate.v1.Import"

# An agent that publishes this wants its cluster out; the hub then hangs up with the code LEFT.
LEAVE: Final = "fedgate.v1.Leave"
LEFT: Final = "left"

# What a cluster's gateways have found out about others; the hubs show it, and tell no other cluster.
PROBES: Final = "fedgate.v1.Probes"

# The public halves of the keys that sign a cluster's JWT-SVIDs, all in one record by the cluster's name.
JWT_KEYS: Final = "fedgate.v1.JwtKeys"

# The workloads of a cluster that are nobody now, all in one record by the cluster's name.
REVOKED: Final = "fedgate.v1.Revoked"

# What a cluster goes on to offer though its source does not say so any more; of this too there is one.
WITHHELD: Final = "fedgate.v1.Withheld"

# Which issuing CAs a cluster's gateways have acknowledged; likewise.
ANCHORS: Final = "fedgate.v1.Anchors"
_OF_THE_AGENT: Final = "/agent"  # no gateway can be called so

# Which roots a cluster's agent trusts; no other cluster is told. There is one, of this name.
TRUST: Final = "fedgate.v1.Trust"
ROOTS: Final = "roots"

# A trust domain outside of the federation, and what it is known by.
FOREIGN: Final = "fedgate.v1.TrustBundle"

# What the hub says to a cluster of something that it has published, by `service/NAME` or `gateway/NAME`.
VERDICT: Final = "fedgate.v1.Verdict"

FROM_AGENTS: Final = (EXPORT, GATEWAY, LEAVE, PROBES, ANCHORS, TRUST, JWT_KEYS, REVOKED, WITHHELD)
# Who may call is told before those are who could: asked for, and so answered, in this order.
FROM_HUB: Final = (FEDERATION, VERDICT, MEMBER, IMPORT, FOREIGN)

Record: TypeAlias = (
    Export
    | GatewayRecord
    | Federation
    | Member
    | Import
    | Probes
    | Anchors
    | Trust
    | JwtKeys
    | Revoked
    | Withheld
    | TrustBundle
    | Verdict
)
R = TypeVar("R", bound=Record)

_encoder = msgspec.json.Encoder()


def name_of(record: Record) -> str:
    """The name that *record* travels by: `NAMESPACE/NAME` of a service, else its own."""
    match record:
        case Export() | Import():
            return str(record.service)
        case GatewayRecord() | Member():
            return record.name
        case Federation():
            return record.domain
        case Probes():
            return record.gateway
        case JwtKeys() | Revoked() | Withheld():
            return record.cluster
        case TrustBundle():
            return record.trust_domain
        case Anchors():
            return record.gateway or _OF_THE_AGENT
        case Trust():
            return ROOTS
        case Verdict():
            return f"{record.of}/{record.name}"


def encode(record: Record) -> Resource:
    """Make *record* ready to be published."""
    return Resource.of(name_of(record), _encoder.encode(record))


def decode(want: type[R], name: str, body: bytes) -> R:
    """Undo `encode`; *name* is the one that *body* came under, and must be its own."""
    what = f"{want.__name__} {name!r}"
    try:
        record = msgspec.json.decode(body, type=want)
    except (*UNDECODABLE, ClusterError) as error:
        raise UnreadableRecord(what, str(error)) from error
    if name_of(record) != name:
        raise UnreadableRecord(what, f"it calls itself {name_of(record)!r}")
    return record
