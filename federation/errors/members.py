"""Joining, leaving, exporting; and trust in others."""

from federation.errors.base import Exit, FederationError


class TokenRefused(FederationError):
    """A join token that does not open the door; `code` says why."""

    exit_code = Exit.FORBIDDEN

    def __init__(self, token_id: str, code: str, reason: str, hint: str) -> None:
        super().__init__(f"join token {token_id}: {reason}")
        self.token_id = token_id
        self.code = code
        self.reason = reason
        self.hint = hint


class ClusterExists(FederationError):
    """A join under a name that is taken."""

    code = "cluster-exists"
    exit_code = Exit.CONFLICT
    hint = "to replace that cluster, join with --rejoin: its old certificates then stop working"

    def __init__(self, cluster: str) -> None:
        super().__init__(f"cluster {cluster} is already in the clusterset")
        self.cluster = cluster


class UnknownCluster(FederationError):
    """A cluster that is not in the set."""

    code = "cluster-unknown"
    exit_code = Exit.NOT_FOUND
    hint = "`fedgate clusters` lists those that are"

    def __init__(self, cluster: str) -> None:
        super().__init__(f"cluster {cluster} is not in the clusterset")
        self.cluster = cluster


class ClusterEvicted(UnknownCluster):
    """A cluster that was shut out of the set."""

    code = "evicted"
    exit_code = Exit.FORBIDDEN

    def __init__(self, cluster: str) -> None:
        FederationError.__init__(self, f"cluster {cluster} was evicted from the clusterset")
        self.cluster = cluster
        self.hint = f"`fedgate clusters readmit {cluster}` at the hub lets it join again, with a new token"


class NotEvicted(FederationError):
    """A cluster that was to be readmitted, and was never shut out."""

    code = "not-evicted"
    exit_code = Exit.CONFLICT
    hint = "`fedgate clusters` shows how each cluster stands"

    def __init__(self, cluster: str) -> None:
        super().__init__(f"cluster {cluster} was not evicted")
        self.cluster = cluster


class NotOurWorkload(FederationError):
    """An identity that was to be revoked here, and is no workload's of this cluster."""

    code = "not-our-workload"
    exit_code = Exit.USAGE

    def __init__(self, spiffe_id: str, trust_domain: str) -> None:
        super().__init__(f"{spiffe_id} is no workload of this cluster")
        self.spiffe_id = spiffe_id
        self.hint = f"want spiffe://{trust_domain}/ns/NAMESPACE/sa/NAME; others are revoked at their agents"


class TooManyRevoked(FederationError):
    """More workloads of one cluster revoked than others can be told of."""

    code = "too-many-revoked"
    exit_code = Exit.CONFLICT
    hint = "undo those that are long gone from the source, and whose last certificate has ended"

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} workloads of this cluster are revoked already")
        self.most = most


class UnknownTrust(FederationError):
    """A trust domain outside that nobody said to believe."""

    code = "trust-unknown"
    exit_code = Exit.NOT_FOUND
    hint = "`fedgate trust list` lists those that are believed"

    def __init__(self, trust_domain: str) -> None:
        super().__init__(f"the trust domain {trust_domain} is not believed here")
        self.trust_domain = trust_domain


class BundleNotFetched(FederationError):
    """A bundle endpoint that does not answer, or not as it should."""

    code = "bundle-not-fetched"

    def __init__(self, trust_domain: str, reason: str) -> None:
        super().__init__(f"the bundle of {trust_domain} was not fetched: {reason}")
        self.trust_domain = trust_domain
        self.reason = reason


class UnknownGrant(FederationError):
    """A grant that is not written down."""

    code = "grant-unknown"
    exit_code = Exit.NOT_FOUND
    hint = "`fedgate grant list` shows those that are"

    def __init__(self, grant: str) -> None:
        super().__init__(f"there is no grant {grant}")
        self.grant = grant


class GrantExists(FederationError):
    """A grant under a name that is taken."""

    code = "grant-exists"
    exit_code = Exit.CONFLICT
    hint = "give it another name, or say --replace"

    def __init__(self, grant: str) -> None:
        super().__init__(f"there is a grant {grant} already")
        self.grant = grant


class GrantsChanged(FederationError):
    """Grants that somebody else has changed meanwhile."""

    code = "grants-changed"
    exit_code = Exit.CONFLICT
    hint = "look at what they are now, and do it again"

    def __init__(self) -> None:
        super().__init__("the grants were changed by somebody else meanwhile")


class UnknownToken(FederationError):
    """A join token that is not in the registry."""

    code = "token-unknown"
    exit_code = Exit.NOT_FOUND
    hint = "`fedgate token list` shows those that are"

    def __init__(self, token_id: str) -> None:
        super().__init__(f"there is no join token {token_id}")
        self.token_id = token_id


class VipsExhausted(FederationError):
    """No address is left for a new service."""

    code = "vips-exhausted"
    exit_code = Exit.CONFLICT
    hint = "unexport services that nobody needs, or start the hub with a longer VIP range"

    def __init__(self, service: str, capacity: int) -> None:
        super().__init__(f"service {service}: all {capacity} addresses of the VIP range are taken")
        self.service = service
        self.capacity = capacity
