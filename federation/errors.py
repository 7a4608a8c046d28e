"""Everything that can go wrong in ``federation``.

FederationError
├── StoreError               the registry's store cannot do what was asked
│   ├── StoreUnusable        its file is locked, broken, not ours, or of a newer fedgate
│   ├── StoreClosed          it was closed before or while it was asked
│   ├── Compacted            a watch asked for history that is gone: list again
│   ├── LeaseNotFound        a lease that has run out or never was
│   └── InvalidRequest       a transaction or revision that no store may accept
├── UnreadableRecord         a record of a newer schema, or one that is damaged
├── Contention               others changed the same records again and again meanwhile
├── TokenRefused             a join token that does not open the door; `code` says why
├── ClusterExists            a join under a name that is taken
├── UnknownCluster           a cluster that is not in the set
│   └── ClusterEvicted       one that was shut out
├── NotEvicted               a cluster that was to be readmitted, and was never shut out
├── NotOurWorkload           an identity that is no workload's of this cluster
├── UnknownTrust             a trust domain outside that nobody said to believe
├── BundleNotFetched         a bundle endpoint that does not answer, or not as it should
├── UnknownToken             a join token that is not in the registry
├── VipsExhausted            no address is left for a new service
├── CannotListen             an address that we were told to serve on and cannot have
├── SyncRefused              the other end of a sync stream said no; `code` says why
├── IssuanceDenied           the hub does not issue a certificate; `code` says why
├── HubAway                  no hub could be asked for one
├── ChangesRejected          what a peer published and may not, or that makes no sense
├── AdminUnreachable         no hub or agent answers where one was looked for
├── AdminTimedOut            one answers too slowly
├── NobodyHere               neither runs on this machine, and none was named
├── NotAdmitted              its admin socket belongs to somebody else
├── AdminRefused             the admin API said no, and why
├── BadAnswer                its answer is not what the contract says
├── WrongFederation          a state directory that belongs to another federation
├── WebCertificateUnusable   a certificate for the bundle endpoint that cannot be shown
├── RolloverExists           a rollover of the root is under way already
├── NoRollover               no rollover is under way, or another one
├── RolloverTooLate          a step back that is not possible any more, or forward that is not yet
├── RolloverLags             somebody is not ready for the next step
├── RootDiffers              a hub CA of another root than the present one
├── KeyElsewhere             the root's key is not here, and it is needed
├── RolloverLost             the new root's files are not those of the rollover in the registry
├── HandoverFailed           one agent could not take over from another
├── NoIdentity               a process that asks for an SVID and is no workload
├── RequestRefused           a workload that asks for something that makes no sense
├── JwtKeyMissing            no JWT-SVID can be signed now
├── AuditBroken              an audit record that was changed after it was written
├── IssuanceRefused          SVIDs that were asked for and are not given
├── WorkerLost               a signing process that ended before it had answered
├── PassphraseUnclear        a passphrase that is empty, or two that differ
├── SecretsExposed           a state folder whose secrets others could use
├── AuditBusy                an audit record that another process writes
├── NotJoined                an agent without an identity: it has not joined
├── NotFound                 what a command was asked about is not there
├── WaitedInVain             what a command waited for did not come about in time
├── LabError                 a network of the lab that could not be made
│   └── NamespacesUnavailable  nobody lets us make namespaces here
├── CannotDemonstrate        something that the demo needs is missing or in its way
└── StepFailed               a step of the demo that did not work out
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final

from clusters.attestation import Process


class Exit(IntEnum):
    """What the command's exit status tells a script."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    FORBIDDEN = 4
    UNREACHABLE = 5
    TIMED_OUT = 6
    CONFLICT = 7


class FederationError(Exception):
    """Base of this package's errors.

    `code` names the kind of error to programs, `hint` says what to do when we know, and
    `exit_code` is what the command ends with.
    """

    code = "failed"
    hint = ""
    exit_code = Exit.CHECK_FAILED


# --- the registry's store -----------------------------------------------------------------------


class StoreError(FederationError):
    """The registry's store cannot do what was asked."""

    code = "store-failed"


class StoreUnusable(StoreError):
    """A store that cannot be opened: locked, broken, not ours, or of a newer fedgate."""

    code = "store-unusable"

    def __init__(self, where: str, reason: str, hint: str = "") -> None:
        super().__init__(f"registry {where}: {reason}")
        self.where = where
        self.reason = reason
        self.hint = hint


class StoreNotEmpty(StoreError):
    """A registry was to be moved to where one is already."""

    code = "store-not-empty"
    hint = "name an empty one: another file, or another prefix"
    exit_code = Exit.CONFLICT

    def __init__(self) -> None:
        super().__init__("the store to move to is not empty")


class StoreClosed(StoreError):
    """The store was closed before or while it was asked."""

    code = "store-closed"

    def __init__(self) -> None:
        super().__init__("the registry's store is closed")


class StoreUnreachable(StoreError):
    """No member of the etcd that holds the registry has answered in time."""

    code = "store-unreachable"
    exit_code = Exit.UNREACHABLE
    hint = "see that its members run and can be reached from here; what was asked for may have been done"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} does not answer: {reason}")


class Compacted(StoreError):
    """A watch asked for history that is gone; whoever watches lists again."""

    code = "compacted"

    def __init__(self, after_revision: int, compacted: int) -> None:
        super().__init__(f"events after revision {after_revision} are gone: compacted up to {compacted}")
        self.after_revision = after_revision
        self.compacted = compacted


class LeaseNotFound(StoreError):
    """A lease that has run out, was revoked, or never was."""

    code = "lease-not-found"

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease} is not there: it ran out, was revoked, or never was")
        self.lease = lease


class InvalidRequest(StoreError):
    """A transaction or revision that no store may accept: a fault of the caller."""

    code = "invalid-request"


class UnreadableRecord(FederationError):
    """A record of a newer schema, or one that is damaged."""

    code = "unreadable-record"

    def __init__(self, what: str, reason: str, hint: str = "") -> None:
        # Both may come from outside, and be as long as somebody wants.
        self.what = what[:300]
        self.reason = reason[:1000]
        super().__init__(f"{self.what} cannot be read: {self.reason}")
        self.hint = hint


class Contention(FederationError):
    """Others changed the same records again and again while we tried."""

    code = "contention"
    hint = "try again"
    exit_code = Exit.CONFLICT

    def __init__(self, operation: str) -> None:
        super().__init__(f"{operation}: others kept changing the same records")
        self.operation = operation


# --- joining, leaving, exporting ----------------------------------------------------------------


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


# --- the sync stream ----------------------------------------------------------------------------


class SyncRefused(FederationError):
    """The other end of a sync stream, or our check of it, said no; `code` says why."""

    exit_code = Exit.FORBIDDEN

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


class IssuanceDenied(FederationError):
    """The hub does not issue what it was asked for; `code` says why."""

    exit_code = Exit.FORBIDDEN

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


class HubAway(FederationError):
    """No hub could be asked; what is due is asked for again."""

    code = "hub-unreachable"
    exit_code = Exit.UNREACHABLE
    hint = "it is tried again until the hub answers"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the hub could not be asked: {reason}")
        self.reason = reason


class ChangesRejected(FederationError):
    """What a peer published and may not, or that makes no sense: none of it was applied."""

    code = "changes-rejected"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# --- asking the admin API -----------------------------------------------------------------------


class AdminUnreachable(FederationError):
    """No hub or agent answers where one was looked for."""

    code = "unreachable"
    exit_code = Exit.UNREACHABLE

    def __init__(self, who: str, where: str, reason: str) -> None:
        super().__init__(f"no {who} answers at {where}: {reason}")
        self.who = who
        self.where = where
        self.hint = f"start it with `fedgate {who}`, or say where it is with --{who} or FEDGATE_{who.upper()}"


class AdminTimedOut(FederationError):
    """A hub or agent that did not answer in time."""

    code = "timed-out"
    exit_code = Exit.TIMED_OUT
    hint = "look at its log, or wait longer with --timeout"

    def __init__(self, who: str, where: str, seconds: float) -> None:
        super().__init__(f"the {who} at {where} did not answer within {seconds:g} s")
        self.who = who
        self.where = where


class NobodyHere(FederationError):
    """Neither a hub nor an agent runs on this machine, and none was named."""

    code = "unreachable"
    exit_code = Exit.UNREACHABLE
    hint = "run this where one is, as the user who runs it, or name one with --hub or --agent"

    def __init__(self) -> None:
        super().__init__("neither a hub nor an agent runs here")


class NotAdmitted(FederationError):
    """An admin socket that belongs to somebody else."""

    code = "not-admitted"
    exit_code = Exit.FORBIDDEN

    def __init__(self, who: str, where: str) -> None:
        super().__init__(f"not allowed to use the {who}'s admin socket {where}")
        self.who = who
        self.where = where
        self.hint = f"run this as the user who runs the {who}"


_EXIT_BY_STATUS: Final = {
    400: Exit.USAGE,
    401: Exit.FORBIDDEN,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    408: Exit.TIMED_OUT,
    409: Exit.CONFLICT,
    410: Exit.NOT_FOUND,
    422: Exit.USAGE,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.TIMED_OUT,
}


class AdminRefused(FederationError):
    """The admin API said no; `code` is for programs, the message for people."""

    def __init__(self, who: str, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message or f"the {who} answered {status}")
        self.who = who
        self.status = status
        self.code = code
        self.hint = hint
        self.exit_code = _EXIT_BY_STATUS.get(status, Exit.CHECK_FAILED)


class BadAnswer(FederationError):
    """An answer of the admin API without what the contract says is in it."""

    code = "bad-answer"
    hint = "are the command and what it asked of the same version?"

    def __init__(self, key: str) -> None:
        super().__init__(f"the answer has no {key!r}")
        self.key = key


# --- starting a hub or an agent -------------------------------------------------------------------


class WrongFederation(FederationError):
    """A state directory that belongs to another federation."""

    code = "wrong-federation"
    exit_code = Exit.CONFLICT
    hint = "start with the domain that it was made for, or with another --state"

    def __init__(self, state: str, domain: str) -> None:
        super().__init__(f"{state} holds the authorities of another federation than {domain}")
        self.state = state
        self.domain = domain


class WebCertificateUnusable(FederationError):
    """A certificate for the bundle endpoint that cannot be shown."""

    code = "certificate-unusable"
    exit_code = Exit.USAGE
    hint = "--bundle-cert wants a PEM chain, its own certificate first, and --bundle-key its unencrypted key"

    def __init__(self, certificate: Path, key: Path, reason: str) -> None:
        super().__init__(f"{certificate} with {key} cannot be used: {reason}")
        self.certificate = certificate
        self.key = key
        self.reason = reason


class RolloverExists(FederationError):
    """A rollover of the root is under way already."""

    code = "rollover-exists"
    exit_code = Exit.CONFLICT
    hint = "`fedgate ca rollover status` says how far it is"

    def __init__(self, phase: str) -> None:
        super().__init__(f"a rollover of the root is under way: {phase}")
        self.phase = phase


class NoRollover(FederationError):
    """No rollover of the root is under way, or not the one that was meant."""

    code = "no-rollover"
    exit_code = Exit.CONFLICT
    hint = "`fedgate ca rollover start` begins one"

    def __init__(self) -> None:
        super().__init__("no such rollover of the root is under way")


class RolloverTooLate(FederationError):
    """A step that the phase of the rollover does not allow."""

    code = "rollover-phase"
    exit_code = Exit.CONFLICT

    def __init__(self, phase: str) -> None:
        reissuing = phase == "reissuing"
        super().__init__(
            "the new root signs already" if reissuing else "the new root does not sign yet: resume first"
        )
        self.phase = phase
        self.hint = "go on with `fedgate ca rollover finish`" if reissuing else "`fedgate ca rollover resume`"


class RolloverLags(FederationError):
    """Somebody is not ready for the rollover's next step."""

    code = "rollover-lags"
    exit_code = Exit.CONFLICT
    hint = "wait for them, or take a cluster out that is lost: `fedgate ca rollover resume --skip CLUSTER`"

    def __init__(self, lagging: Iterable[tuple[str, str]]) -> None:
        self.lagging = tuple(lagging)
        super().__init__("; ".join(f"{name}: {why}" for name, why in self.lagging))


class RootDiffers(FederationError):
    """A hub CA, or a root, that is not of the root which everybody trusts."""

    code = "root-differs"
    exit_code = Exit.CONFLICT
    hint = "another root takes over by `fedgate ca rollover start`"

    def __init__(self) -> None:
        super().__init__("it is of another root than the one that everybody trusts")


class KeyElsewhere(FederationError):
    """The root's key is not here, and something is to be signed by it."""

    code = "key-elsewhere"
    exit_code = Exit.CONFLICT
    hint = "have the new root cross-signed where the key is, and bring that along with --cross-cert"

    def __init__(self) -> None:
        super().__init__("the key of the present root is not here: it cannot vouch for the new one")


class RolloverLost(FederationError):
    """The new root's files are not those of the rollover in the registry."""

    code = "rollover-lost"
    exit_code = Exit.CONFLICT
    hint = "put the state folder back from a backup of the same day as the registry's"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where


class HandoverFailed(FederationError):
    """One agent could not take over from another, which goes on as before."""

    code = "handover-failed"
    exit_code = Exit.CONFLICT
    hint = "stop the agent that runs, and start this one without --take-over"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the agent that runs was not taken over: {reason}")
        self.reason = reason


class NoIdentity(FederationError):
    """A process that asks for an SVID and is no workload, or one for which none can be made (*workloads*)."""

    code = "no-identity"
    exit_code = Exit.FORBIDDEN

    def __init__(self, process: Process, workloads: Sequence[str] = ()) -> None:
        who = f"process {process.pid} of user {process.uid}"
        none = f"there is no certificate for {', '.join(workloads)}"
        super().__init__(f"{who}: {none if workloads else 'no workload is known by it'}")
        self.process = process
        self.workloads = tuple(workloads)


class RequestRefused(FederationError):
    """A workload that asks for something that makes no sense."""

    code = "bad-request"
    exit_code = Exit.USAGE

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"request for a {what}: {reason}")
        self.what = what
        self.reason = reason


class JwtKeyMissing(FederationError):
    """No JWT-SVID can be signed now: the first key is being made, or could not be kept."""

    code = "no-jwt-key"

    def __init__(self) -> None:
        super().__init__("there is no key yet to sign JWT-SVIDs with; try again")


class AuditBroken(FederationError):
    """An audit record that is not as it was written; *line* of *file* is the first bad one."""

    code = "audit-broken"
    hint = "compare it with a backup; to begin a new record, move these files elsewhere"

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"the audit record is broken at line {line} of {file}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class PassphraseUnclear(FederationError):
    """A passphrase that is empty, or two that differ. Says where they come from, and never what they are."""

    code = "passphrase-unclear"
    exit_code = Exit.USAGE
    hint = (
        "give one: by --passphrase-file, FEDGATE_PASSPHRASE_FILE, FEDGATE_PASSPHRASE or a systemd credential"
    )

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SecretsExposed(FederationError):
    """A state folder whose secrets others could use; the hint is the command to run."""

    code = "secrets-exposed"
    exit_code = Exit.FORBIDDEN

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"secrets that are not secret: {reason}")
        self.reason = reason
        self.hint = hint


class IssuanceRefused(FederationError):
    """SVIDs that were asked for and are not given; `code` says why."""

    exit_code = Exit.FORBIDDEN

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


class WorkerLost(FederationError):
    """A signing process that ended before it had answered."""

    code = "worker-lost"
    hint = "ask again: another one is started"
    exit_code = Exit.UNREACHABLE

    def __init__(self, pid: int) -> None:
        super().__init__(f"the signing process {pid} has ended")
        self.pid = pid


class AuditBusy(FederationError):
    """An audit record that another process writes."""

    code = "audit-busy"
    exit_code = Exit.CONFLICT

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is being written by another process")


class NotJoined(FederationError):
    """An agent without an identity."""

    code = "not-joined"
    exit_code = Exit.NOT_FOUND
    hint = "make a token with `fedgate token create CLUSTER` at the hub, and give it to `fedgate join`"

    def __init__(self, state: str) -> None:
        super().__init__(f"{state} holds no cluster's identity: this cluster has not joined")
        self.state = state


class NotFound(FederationError):
    """What a command was asked about is not there; *known* is what is."""

    code = "not-found"
    exit_code = Exit.NOT_FOUND

    def __init__(self, kind: str, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(f"no {kind} named {name!r}")
        self.kind = kind
        self.name = name
        self.hint = _did_you_mean(name, sorted(known))


class WaitedInVain(FederationError):
    """What a command waited for did not come about in time."""

    code = "timed-out"
    exit_code = Exit.TIMED_OUT

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what}, after {seconds:g} s of waiting")
        self.what = what


# --- the lab and the demo -----------------------------------------------------------------------


class LabError(FederationError):
    """A network of the lab that could not be made."""

    code = "lab-failed"


class NamespacesUnavailable(LabError):
    """The kernel, or who runs it, does not let us make namespaces."""

    code = "no-namespaces"

    def __init__(self, reason: str) -> None:
        super().__init__(f"no network namespaces here: {reason}")
        self.reason = reason


class CannotDemonstrate(FederationError):
    """Something that the demo needs is missing, or in its way."""

    code = "demo-impossible"

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class StepFailed(FederationError):
    """A step of the demo that did not work out; *log* is the tail of what the culprit said."""

    code = "demo-failed"

    def __init__(self, reason: str, log: str = "", hint: str = "") -> None:
        super().__init__(reason)
        self.log = log
        self.hint = hint


def _did_you_mean(name: str, known: list[str]) -> str:
    from difflib import get_close_matches  # only a mistake pays for it

    close = get_close_matches(name, known, n=3)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"there are: {', '.join(known[:10])}{', …' if len(known) > 10 else ''}" if known else ""


# --- serving ------------------------------------------------------------------------------------


class CannotListen(FederationError):
    """An address that we were told to serve on and cannot have."""

    code = "cannot-listen"

    def __init__(self, what: str, address: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{what} cannot listen on {address}: {reason}")
        self.what = what
        self.address = address
        self.reason = reason
        self.hint = hint
