"""Who this cluster is while its agent runs: its issuing CA changes, and everybody looks here for it."""

from collections.abc import Iterable

from cryptography import x509

from clusters.identity import ClusterIdentity, Membership
from clusters.succession import Retiring
from pki.authority import Authority, from_pem


class Identity:
    """What is on the disk, as it is now."""

    def __init__(self, kept: ClusterIdentity, retiring: Iterable[Retiring] = ()) -> None:
        self.kept = kept
        self.retiring = tuple(retiring)

    @property
    def membership(self) -> Membership:
        """What was told when the cluster joined."""
        return self.kept.membership

    @property
    def authority(self) -> Authority:
        """The issuing CA that signs."""
        return self.kept.authority

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The issuing CAs that vouch for this cluster's SVIDs: the one that signs, and those before it."""
        return (self.authority.certificate, *(from_pem(old.certificate)[0] for old in self.retiring))
