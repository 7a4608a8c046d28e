"""Everything that can go wrong in ``federation``.

FederationError
├── StoreError               the registry's store cannot do what was asked
│   ├── StoreUnusable        its file is locked, broken, not ours, or of a newer fedgate
│   ├── StoreClosed          it was closed before or while it was asked
│   ├── Compacted            a watch asked for history that is gone: list again
│   ├── LeaseNotFound        a lease that has run out or never was
│   └── InvalidRequest       a transaction or revision that no store may accept
├── BackupNotTaken           a hub of which no backup can be taken now
├── BackupUnusable           a file that is no backup, or not all of one
├── HubThere                 a backup was to be restored to where a hub is already
├── UnreadableRecord         a record of a newer schema, or one that is damaged
├── Contention               others changed the same records again and again meanwhile
├── TokenRefused             a join token that does not open the door; `code` says why
├── ClusterExists            a join under a name that is taken
├── UnknownCluster           a cluster that is not in the set
│   └── ClusterEvicted       one that was shut out
├── NotEvicted               a cluster that was to be readmitted, and was never shut out
├── NotOurWorkload           an identity that is no workload's of this cluster
├── TooManyRevoked           one more workload to revoke than can be
├── UnknownTrust             a trust domain outside that nobody said to believe
├── BundleNotFetched         a bundle endpoint that does not answer, or not as it should
├── UnknownGrant             a grant that is not written down
├── GrantExists              a grant under a name that is taken
├── GrantsChanged            grants that somebody else has changed meanwhile
├── UnknownToken             a join token that is not in the registry
├── VipsExhausted            no address is left for a new service
├── CannotListen             an address that we were told to serve on and cannot have
├── SyncRefused              the other end of a sync stream said no; `code` says why
│   └── Superseded           another connection of the same agent has taken over
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
├── NotElected               what only the elected hub does was asked of another
├── Deposed                  a write of a hub that is not the elected one any more
├── HubNameTaken             another hub with the same store has this name
├── PassphraseMissing        a hub on etcd without a passphrase
├── AuthoritiesElsewhere     a store with a federation whose keys are in another hub's folder
├── AuthoritiesDiffer        a state folder and a store of two federations
├── WebCertificateUnusable   a certificate for the bundle endpoint that cannot be shown
├── RolloverExists           a rollover of the root is under way already
├── NoRollover               no rollover is under way, or another one
├── RolloverTooLate          a step back that is not possible any more, or forward that is not yet
├── RolloverLags             somebody is not ready for the next step
├── NotLagging               a cluster that was to be skipped is not waited for
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

from federation.errors.asking import AdminRefused as AdminRefused
from federation.errors.asking import AdminTimedOut as AdminTimedOut
from federation.errors.asking import AdminUnreachable as AdminUnreachable
from federation.errors.asking import BadAnswer as BadAnswer
from federation.errors.asking import NobodyHere as NobodyHere
from federation.errors.asking import NotAdmitted as NotAdmitted
from federation.errors.asking import NotFound as NotFound
from federation.errors.asking import WaitedInVain as WaitedInVain
from federation.errors.backup import BackupNotTaken as BackupNotTaken
from federation.errors.backup import BackupUnusable as BackupUnusable
from federation.errors.backup import HubThere as HubThere
from federation.errors.base import Exit as Exit
from federation.errors.base import FederationError as FederationError
from federation.errors.hubs import AuthoritiesDiffer as AuthoritiesDiffer
from federation.errors.hubs import AuthoritiesElsewhere as AuthoritiesElsewhere
from federation.errors.hubs import Deposed as Deposed
from federation.errors.hubs import HubNameTaken as HubNameTaken
from federation.errors.hubs import NotElected as NotElected
from federation.errors.hubs import PassphraseMissing as PassphraseMissing
from federation.errors.issuing import IssuanceRefused as IssuanceRefused
from federation.errors.issuing import JwtKeyMissing as JwtKeyMissing
from federation.errors.issuing import NoIdentity as NoIdentity
from federation.errors.issuing import RequestRefused as RequestRefused
from federation.errors.issuing import WorkerLost as WorkerLost
from federation.errors.lab import CannotDemonstrate as CannotDemonstrate
from federation.errors.lab import LabError as LabError
from federation.errors.lab import NamespacesUnavailable as NamespacesUnavailable
from federation.errors.lab import StepFailed as StepFailed
from federation.errors.members import BundleNotFetched as BundleNotFetched
from federation.errors.members import ClusterEvicted as ClusterEvicted
from federation.errors.members import ClusterExists as ClusterExists
from federation.errors.members import GrantExists as GrantExists
from federation.errors.members import GrantsChanged as GrantsChanged
from federation.errors.members import NotEvicted as NotEvicted
from federation.errors.members import NotOurWorkload as NotOurWorkload
from federation.errors.members import TokenRefused as TokenRefused
from federation.errors.members import TooManyRevoked as TooManyRevoked
from federation.errors.members import UnknownCluster as UnknownCluster
from federation.errors.members import UnknownGrant as UnknownGrant
from federation.errors.members import UnknownToken as UnknownToken
from federation.errors.members import UnknownTrust as UnknownTrust
from federation.errors.members import VipsExhausted as VipsExhausted
from federation.errors.rollover import KeyElsewhere as KeyElsewhere
from federation.errors.rollover import NoRollover as NoRollover
from federation.errors.rollover import NotLagging as NotLagging
from federation.errors.rollover import RolloverExists as RolloverExists
from federation.errors.rollover import RolloverLags as RolloverLags
from federation.errors.rollover import RolloverLost as RolloverLost
from federation.errors.rollover import RolloverTooLate as RolloverTooLate
from federation.errors.rollover import RootDiffers as RootDiffers
from federation.errors.running import AuditBroken as AuditBroken
from federation.errors.running import AuditBusy as AuditBusy
from federation.errors.running import CannotListen as CannotListen
from federation.errors.running import HandoverFailed as HandoverFailed
from federation.errors.running import NotJoined as NotJoined
from federation.errors.running import PassphraseUnclear as PassphraseUnclear
from federation.errors.running import SecretsExposed as SecretsExposed
from federation.errors.running import WebCertificateUnusable as WebCertificateUnusable
from federation.errors.running import WrongFederation as WrongFederation
from federation.errors.store import Compacted as Compacted
from federation.errors.store import Contention as Contention
from federation.errors.store import InvalidRequest as InvalidRequest
from federation.errors.store import LeaseNotFound as LeaseNotFound
from federation.errors.store import StoreClosed as StoreClosed
from federation.errors.store import StoreError as StoreError
from federation.errors.store import StoreNotEmpty as StoreNotEmpty
from federation.errors.store import StoreUnreachable as StoreUnreachable
from federation.errors.store import StoreUnusable as StoreUnusable
from federation.errors.store import UnreadableRecord as UnreadableRecord
from federation.errors.sync import ChangesRejected as ChangesRejected
from federation.errors.sync import HubAway as HubAway
from federation.errors.sync import IssuanceDenied as IssuanceDenied
from federation.errors.sync import Superseded as Superseded
from federation.errors.sync import SyncRefused as SyncRefused
