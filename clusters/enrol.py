"""A gateway enrols with its cluster's agent, from another machine: the gateway's side.

It goes as a join does: the agent is checked against the token's pin before the secret leaves, and the key
is made here. What it gets is the certificate by which it asks for its configuration; `renew` replaces that
in time.

    gateway.json    name, role, and where the agent is
    gateway.key     the key
    gateway.pem     its certificate, and what leads up to the root
    roots.pem       the federation's roots
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from clusters.admission import (
    ENROL_PATH,
    RENEW_PATH,
    EnrolAnswer,
    EnrolRequest,
    RenewAnswer,
    RenewRequest,
)
from clusters.clock import utc_now
from clusters.decoding import UNDECODABLE
from clusters.errors import IdentityUnusable, JoinRefused
from clusters.identity import refuse_newer
from clusters.join import TIMEOUT
from clusters.pinned import Connection, Server, open_known, open_pinned
from clusters.reports import NOTICE_PATH, REPORT_PATH, Notice, NoticeAsked, Report, ReportAnswer
from pki import keystore
from pki.authority import from_pem, to_pem
from pki.bundle import check_svid
from pki.csr import make_csr
from pki.errors import PkiError
from pki.rotation import Validity
from pki.signer import KeySigner
from pki.spiffe import agent_id, gateway_id
from pki.tokens import TokenKind, host_and_port, parse_token

RECORD_FILE: Final = "gateway.json"
KEY_FILE: Final = "gateway.key"
CHAIN_FILE: Final = "gateway.pem"
ROOTS_FILE: Final = "roots.pem"

_SCHEMA: Final = 1
_ENROL_AGAIN: Final = "enrol again: `fedgate gateways token NAME` at the agent makes a token"


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway knows of itself, as `gateway.json` keeps it."""

    schema: int = _SCHEMA
    name: str
    role: str
    domain: str
    trust_domain: str
    agent: tuple[str, ...]
    ads: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An enrolment that is on disk, and how long its certificate is good."""

    enrolment: Enrolment
    state: Path
    validity: Validity

    @property
    def key_file(self) -> Path:
        """Where the key is."""
        return self.state / KEY_FILE

    @property
    def chain_file(self) -> Path:
        """Where the certificate is, with what leads up to the root."""
        return self.state / CHAIN_FILE

    @property
    def roots_file(self) -> Path:
        """Where the federation's roots are."""
        return self.state / ROOTS_FILE


def enrol(
    line: str, state: Path, *, timeout: float = TIMEOUT, clock: Callable[[], datetime] = utc_now
) -> Enrolled:
    """Enrol with the token in *line*, and keep the result in *state*, over any earlier enrolment there."""
    token = parse_token(line, TokenKind.GATEWAY, clock())
    signer = KeySigner.generate()
    request = EnrolRequest(token.id, token.secret, token.subject, token.role, make_csr(signer.key))
    with keystore.exclusive(state):
        agent = _agent(token.trust_domain, token.addresses)
        connection = open_pinned(agent, token.pins, timeout, clock)
        with contextlib.closing(connection):
            answer = connection.post(ENROL_PATH, request, EnrolAnswer)
        enrolment = Enrolment(
            name=token.subject,
            role=token.role,
            domain=answer.domain,
            trust_domain=token.trust_domain,
            agent=token.addresses,
            ads=answer.ads,
        )
        return _keep(state, enrolment, answer, connection.roots, signer, clock())


def renew(state: Path, *, timeout: float = TIMEOUT, clock: Callable[[], datetime] = utc_now) -> Enrolled:
    """Replace the certificate in *state*, by the one that is there and has not expired."""
    enrolled = load_enrolment(state)
    enrolment = enrolled.enrolment
    roots = from_pem(keystore.read(enrolled.roots_file))
    signer = KeySigner.generate()
    agent = _agent(enrolment.trust_domain, enrolment.agent)
    connection = open_known(agent, roots, (enrolled.chain_file, enrolled.key_file), timeout)
    with contextlib.closing(connection):
        answer = connection.post(RENEW_PATH, RenewRequest(make_csr(signer.key)), RenewAnswer)
    return _keep(state, enrolment, answer, roots, signer, clock())


def report(state: Path, how: Report, *, timeout: float = TIMEOUT) -> ReportAnswer:
    """Tell the agent how the gateway is that enrolled in *state*; its certificate says which one it is."""
    with contextlib.closing(_connected(state, timeout)) as connection:
        return connection.post(REPORT_PATH, how, ReportAnswer)


def notice(state: Path, seen: str, *, timeout: float) -> Notice:
    """Ask the agent for the notice after the one *seen*, as the gateway that enrolled in *state*."""
    with contextlib.closing(_connected(state, timeout)) as connection:
        return connection.post(NOTICE_PATH, NoticeAsked(seen), Notice)


def _connected(state: Path, timeout: float) -> Connection:
    """Connect to the agent by the certificate that is in *state*."""
    enrolled = load_enrolment(state)
    roots = from_pem(keystore.read(enrolled.roots_file))
    agent = _agent(enrolled.enrolment.trust_domain, enrolled.enrolment.agent)
    return open_known(agent, roots, (enrolled.chain_file, enrolled.key_file), timeout)


def load_enrolment(state: Path) -> Enrolled:
    """Read what `enrol` kept in *state*."""
    keystore.recover(state)
    try:
        record = keystore.read(state / RECORD_FILE)
        refuse_newer(state, record, known=_SCHEMA)
        enrolment = msgspec.json.decode(record, type=Enrolment)
        chain = from_pem(keystore.read(state / CHAIN_FILE))
    except FileNotFoundError as error:
        raise IdentityUnusable(state, "no gateway has enrolled with this state", _ENROL_AGAIN) from error
    except PkiError as error:
        raise IdentityUnusable(state, str(error), error.hint or _ENROL_AGAIN) from error
    except UNDECODABLE as error:
        raise IdentityUnusable(state, f"{RECORD_FILE}: {error}", _ENROL_AGAIN) from error
    return Enrolled(enrolment, state, Validity.of(chain[0]))


def _agent(trust_domain: str, addresses: tuple[str, ...]) -> Server:
    return Server("agent", agent_id(trust_domain), addresses)


def _keep(
    state: Path,
    enrolment: Enrolment,
    answer: EnrolAnswer | RenewAnswer,
    trusted: tuple[x509.Certificate, ...],
    signer: KeySigner,
    now: datetime,
) -> Enrolled:
    """Check what the agent answered by the roots that we *trusted* so far, and put it on disk."""
    wanted = gateway_id(enrolment.trust_domain, enrolment.role, enrolment.name)
    try:
        chain_pem = "".join(answer.chain)
        proven = check_svid(chain_pem, trusted, enrolment.trust_domain, now)
        certificate = from_pem(chain_pem)[0]
        if proven != wanted or certificate.public_key() != signer.public_key():
            raise ValueError(f"the certificate is not for {wanted} and the key that was sent")
        roots = tuple(root for pem in answer.roots for root in from_pem(pem))
        check_svid(chain_pem, roots, enrolment.trust_domain, now)
        host_and_port(enrolment.ads)
    except (PkiError, ValueError) as error:
        raise JoinRefused("answer-unusable", f"the agent's answer cannot be used: {error}") from error
    files = {
        KEY_FILE: signer.private_pem(),
        CHAIN_FILE: chain_pem.encode(),
        ROOTS_FILE: to_pem(roots).encode(),
        RECORD_FILE: msgspec.json.format(msgspec.json.encode(enrolment)) + b"\n",
    }
    keystore.write_all(state, files)
    return Enrolled(enrolment, state, Validity.of(certificate))
