"""Where each record lives in the store.

    fedgate/federation                            what is the same for everybody
    fedgate/identity                              which store this is: see `identity`
    fedgate/clusters/CLUSTER                      a member and its anchors
    fedgate/status/CLUSTER                        when it was last seen, its version, its clock
    fedgate/alive/CLUSTER                         there while the cluster is connected: hangs on a lease
    fedgate/away/CLUSTER                          since when it is missing, until it connects again
    fedgate/jwt-keys/CLUSTER                      by which its JWT-SVIDs are known
    fedgate/revoked/CLUSTER                       workloads of it that are nobody now
    fedgate/withheld/CLUSTER                      what is gone from its source, and not believed
    fedgate/accepted/CLUSTER                      that it is to be believed all the same
    fedgate/gateways/CLUSTER/GATEWAY
    fedgate/exports/CLUSTER/NAMESPACE/SERVICE
    fedgate/services/NAMESPACE/SERVICE            the service's VIP index, and who exports it
    fedgate/vips/next                             the lowest VIP index that was never used
    fedgate/vips/freed/INDEX                      an index whose last exporter left
    fedgate/trust/TRUST-DOMAIN                    a foreign trust domain and its bundle
    fedgate/grants                                who may export what to whom
    fedgate/tokens/TOKEN
    fedgate/rollover                              while one root takes over from another
    fedgate/proofs/PARTY                          who has proved to trust the root that is to come
    fedgate/authorities                           root and hub CA with their sealed keys, for several hubs
    fedgate/said/CLUSTER/KIND/ABOUT               what it says of its gateways and of others': see `sayings`
    fedgate/hubs/HUB                              a hub that runs: hangs on its lease
    fedgate/leader                                the elected hub: hangs on its lease

`alive`, `hubs` and `leader` hang on leases: a cluster that is not heard of keeps its other records.
A cluster's name is in front of what is its own, so that one prefix holds it all.
"""

from clusters.names import ClusterName, ServiceName

ROOT = "fedgate/"
FEDERATION = f"{ROOT}federation"
GRANTS = f"{ROOT}grants"
IDENTITY = f"{ROOT}identity"
CLUSTERS = f"{ROOT}clusters/"
SERVICES = f"{ROOT}services/"
TOKENS = f"{ROOT}tokens/"
TRUSTS = f"{ROOT}trust/"
ALIVE = f"{ROOT}alive/"
AWAY = f"{ROOT}away/"
ROLLOVER = f"{ROOT}rollover"
PROOFS = f"{ROOT}proofs/"
AUTHORITIES = f"{ROOT}authorities"
HUBS = f"{ROOT}hubs/"
LEADER = f"{ROOT}leader"
VIPS_NEXT = f"{ROOT}vips/next"
VIPS_FREED = f"{ROOT}vips/freed/"


def cluster(name: ClusterName) -> str:
    """A member and its anchors."""
    return f"{CLUSTERS}{name}"


def status(name: ClusterName) -> str:
    """What was last seen of a member."""
    return f"{ROOT}status/{name}"


def alive(name: ClusterName) -> str:
    """There while the member is connected."""
    return f"{ALIVE}{name}"


def away(name: ClusterName) -> str:
    """Since when a member that was connected is not any more."""
    return f"{AWAY}{name}"


def jwt_keys(name: ClusterName) -> str:
    """The keys by which a member's JWT-SVIDs are known."""
    return f"{ROOT}jwt-keys/{name}"


def revoked(name: ClusterName) -> str:
    """The workloads of a member that are nobody now."""
    return f"{ROOT}revoked/{name}"


def withheld(name: ClusterName) -> str:
    """What a member goes on to offer though its source does not say so."""
    return f"{ROOT}withheld/{name}"


def accepted(name: ClusterName) -> str:
    """Which of a member's doubted withdrawals somebody has accepted."""
    return f"{ROOT}accepted/{name}"


def gateways(name: ClusterName) -> str:
    """The prefix of all gateways of a member."""
    return f"{ROOT}gateways/{name}/"


def gateway(name: ClusterName, gateway_name: str) -> str:
    """One gateway of a member."""
    return f"{gateways(name)}{gateway_name}"


def exports(name: ClusterName) -> str:
    """The prefix of all that a member exports."""
    return f"{ROOT}exports/{name}/"


def export(name: ClusterName, exported: ServiceName) -> str:
    """One export of a member."""
    return f"{exports(name)}{exported}"


def said(name: ClusterName) -> str:
    """The prefix of all that a member says and others are not told."""
    return f"{ROOT}said/{name}/"


def service(name: ServiceName) -> str:
    """A service's VIP index, and who exports it."""
    return f"{SERVICES}{name}"


def token(token_id: str) -> str:
    """A join token."""
    return f"{TOKENS}{token_id}"


def trust(trust_domain: str) -> str:
    """A foreign trust domain and its bundle."""
    return f"{TRUSTS}{trust_domain}"


def proof(party: str) -> str:
    """That a cluster, or the hub, has proved to trust the root that is to come."""
    return f"{PROOFS}{party}"


def hub(name: str) -> str:
    """A hub that runs."""
    return f"{HUBS}{name}"


def freed(index: int) -> str:
    """A VIP index whose last exporter left."""
    return f"{VIPS_FREED}{index:010}"


def parts(key: str) -> tuple[str, ...]:
    """Take a key apart, for a `match`: `("exports", "onprem", "shop", "catalog")`."""
    return tuple(key.removeprefix(ROOT).split("/"))
