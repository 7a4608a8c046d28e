"""The agent's part in a rollover: it says which roots it trusts, and proves that it trusts the new one.

The proof is made with what is on the disk, by which the agent would start again. One that fails is tried
again, and the hub is told why it fails.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509

from clusters.errors import ClusterError
from clusters.identity import ROOTS_FILE
from clusters.model import Federation
from clusters.pinned import Server, open_known
from clusters.trust import PROOF_PATH, PROVING_NAME, Proof, Proven, Trust, UnusedToken
from federation.log import Log
from federation.roots import Roots
from gateway.rpc import TlsMaterial
from pki import keystore
from pki.authority import from_pem
from pki.bundle import fingerprint
from pki.errors import PkiError
from pki.spiffe import hub_id

log = Log(__name__)

_RETRY: Final = 2.0
_TIMEOUT: Final = 5.0


class Prover:
    """What an agent says of its roots, by *say*, as *federation* and its *roots* are now.

    *behind* says which of its gateways would not find their way, as they do not have these roots yet, and
    *tokens* which of those that have yet to enrol will not.
    """

    def __init__(
        self,
        state: Path,
        roots: Roots,
        federation: Callable[[], Federation],
        material: Callable[[], TlsMaterial],
        behind: Callable[[], str],
        say: Callable[[Trust], None],
        tokens: Callable[[], tuple[UnusedToken, ...]] = tuple,
    ) -> None:
        self._state = state
        self._roots = roots
        self._federation = federation
        self._material = material
        self._behind = behind
        self._say = say
        self._tokens = tokens
        self._proved = ""
        self._changed = asyncio.Event()

    def follow(self) -> None:
        """Say what is trusted now, and prove what is to be proved."""
        self._tell()
        self._changed.set()

    async def run(self) -> None:
        """Prove whatever the hub wants proved, for ever."""
        while True:
            self._changed.clear()
            wanted = self._wanted()
            if wanted is None:
                await self._changed.wait()
                continue
            if reason := self._behind() or await asyncio.to_thread(self._attempt, wanted):
                self._tell(reason)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY):
                        await self._changed.wait()
                continue
            self._proved = wanted
            log.info("new root proved", root=wanted)
            self._tell()

    def _tell(self, reason: str = "") -> None:
        self._say(Trust(self._roots.hash, self._proved, reason[:300], self._tokens()))

    def _wanted(self) -> str | None:
        """The fingerprint of the root that is to be proved, if one is and that is not done."""
        federation = self._federation()
        if not federation.prove_at:
            return None
        wanted = fingerprint(from_pem(federation.roots[-1])[0])
        return None if wanted == self._proved else wanted

    def _attempt(self, wanted: str) -> str:
        """Show the hub that we believe its chain of the root *wanted* alone; else say why that failed."""
        federation = self._federation()
        hub = Server("hub", hub_id(federation.domain), federation.prove_at, PROVING_NAME)
        try:
            root = self._on_disk(wanted)
            with as_files(self._material()) as files:
                connection = open_known(hub, (root,), files, _TIMEOUT)
            with contextlib.closing(connection):
                connection.post(PROOF_PATH, Proof(wanted), Proven)
        except (ClusterError, PkiError, OSError) as error:
            log.warning("new root not proved", root=wanted, reason=str(error))
            return str(error)
        return ""

    def _on_disk(self, wanted: str) -> x509.Certificate:
        """The root with the fingerprint *wanted*, as a start would find it."""
        for root in from_pem(keystore.read(self._state / ROOTS_FILE)):
            if fingerprint(root) == wanted:
                return root
        raise FileNotFoundError(f"{ROOTS_FILE} does not have the new root")


@contextlib.contextmanager
def as_files(material: TlsMaterial) -> Iterator[tuple[Path, Path]]:
    """Chain and key where the standard library takes them from, files only; these never reach a disk."""
    with contextlib.ExitStack() as stack:

        def held(content: str) -> Path:
            descriptor = os.memfd_create("tls")
            stack.callback(os.close, descriptor)
            os.write(descriptor, content.encode())
            return Path(f"/proc/self/fd/{descriptor}")

        yield held(material.chain), held(material.key)
