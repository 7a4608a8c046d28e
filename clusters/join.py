"""A cluster joins: the agent's side.

The hub is checked against the token's pin before the secret leaves this machine, the issuing key is made
here and stays here, and what the hub answers is checked up to the pinned root before any of it is kept.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

from cryptography import x509

from clusters import keyring
from clusters.admission import (
    JOIN_PATH,
    JoinAnswer,
    JoinRequest,
)
from clusters.clock import utc_now
from clusters.errors import IdentityUnusable, InvalidName, InvalidValue, JoinRefused
from clusters.identity import ClusterIdentity, Membership, has_joined, load_membership
from clusters.model import VipRange
from clusters.names import cluster_name
from clusters.pinned import Connection, Server, open_pinned
from clusters.skew import refuse_skew, skew_warning
from pki import keystore
from pki.authority import Authority, from_pem
from pki.bundle import check_issuing_ca
from pki.csr import make_csr
from pki.errors import PkiError
from pki.profile import HUB_DNS_NAME
from pki.sealing import UNSEALED, Seal
from pki.signer import KeySigner
from pki.spiffe import hub_id, trust_domain_of
from pki.tokens import Token, TokenKind, host_and_port, parse_token

TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Joined:
    """A join that was made, and is on disk.

    `clock_skew` is how far this machine's clock is ahead of the hub's, in seconds; `warning` says so in
    a sentence when that is worth one.
    """

    identity: ClusterIdentity
    hub: str
    clock_skew: float
    warning: str = ""


def join(
    line: str,
    state: Path,
    *,
    rejoin: bool = False,
    timeout: float = TIMEOUT,
    version: str | None = None,
    clock: Callable[[], datetime] = utc_now,
    seal: Seal = UNSEALED,
) -> Joined:
    """Join with the token in *line*, and keep the new identity in *state*, its key under *seal*.

    Nothing is kept of a join that fails. An identity that is there already is replaced only if *rejoin*
    says so, and never by that of another cluster.
    """
    token = parse_token(line, TokenKind.JOIN, clock())
    with keystore.exclusive(state):
        _check_state(state, token.subject, rejoin)
        hub = Server("hub", hub_id(token.trust_domain), token.addresses, HUB_DNS_NAME)
        with contextlib.closing(open_pinned(hub, token.pins, timeout, clock)) as connection:
            joined = join_over(connection, token, rejoin, version or version_of("fedgate"), clock)
        keyring.forget(state)  # of whoever had this state before
        identity = replace(joined.identity, seal=seal)
        identity.save(state)
    return replace(joined, identity=identity)


def _check_state(state: Path, cluster: str, rejoin: bool) -> None:
    """Refuse to join over what is there already, unless that is what is wanted."""
    if not has_joined(state):
        return
    try:
        there = load_membership(state).cluster
    except IdentityUnusable:
        if rejoin:
            return
        raise
    if there != cluster:
        raise JoinRefused(
            "state-of-another",
            f"{state} belongs to cluster {there}, and the token is for {cluster}",
            "name another directory with --state",
        )
    if not rejoin:
        raise JoinRefused(
            "state-exists",
            f"cluster {there} has joined already, with {state}",
            "run `fedgate agent`; or join again with --rejoin, which takes the old identity away",
        )


def join_over(
    hub: Connection, token: Token, rejoin: bool, version: str, clock: Callable[[], datetime]
) -> Joined:
    """Ask the verified *hub* to let us in, and check its answer; raises JoinRefused."""
    asked = clock()
    signer = KeySigner.generate()
    request = JoinRequest(
        token.id, token.secret, token.subject, make_csr(signer.key), version, asked, rejoin=rejoin
    )
    answer = hub.post(JOIN_PATH, request, JoinAnswer)
    answered = clock()
    skew = (asked + (answered - asked) / 2 - answer.now).total_seconds()
    refuse_skew(skew, "hub")
    try:
        identity = _identity(answer, token, hub.roots, signer, answered)
    except (PkiError, InvalidName, InvalidValue, ValueError) as error:
        raise JoinRefused(
            "answer-unusable",
            f"the hub at {hub.address} let {token.subject} in, but its answer cannot be used: {error}",
            "nothing was kept; make a new token, and join with --rejoin",
        ) from error
    return Joined(identity, hub.address, skew, skew_warning(skew, "hub"))


def _identity(
    answer: JoinAnswer, token: Token, pinned: tuple[x509.Certificate, ...], signer: KeySigner, now: datetime
) -> ClusterIdentity:
    """Believe of *answer* what the pinned roots vouch for, and what is for us."""
    trust_domain = trust_domain_of(token.subject, token.trust_domain)
    told = (answer.cluster, answer.domain, answer.trust_domain)
    if told != (token.subject, token.trust_domain, trust_domain):
        raise ValueError(f"it is for {' / '.join(told)}")
    chain_pem = "".join(answer.chain)
    issuing = check_issuing_ca(chain_pem, pinned, trust_domain, now)
    roots = tuple(root for pem in answer.roots for root in from_pem(pem))
    check_issuing_ca(chain_pem, roots, trust_domain, now)
    if not answer.sync:
        raise ValueError("it names no address to sync with")
    for address in answer.sync:
        host_and_port(address)
    membership = Membership(
        cluster_name(answer.cluster),
        answer.domain,
        answer.trust_domain,
        answer.sync,
        tuple(VipRange(cidr) for cidr in answer.vip_ranges),
        token.addresses,
    )
    return ClusterIdentity(membership, Authority(issuing, from_pem(chain_pem)[1:], signer), signer, roots)
