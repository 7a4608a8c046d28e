"""Whether keys are sealed on the disk: one answer for a whole state folder, with what opens them."""

from dataclasses import dataclass, field
from pathlib import Path

from pki import keystore
from pki.errors import CannotUnseal


@dataclass(frozen=True, slots=True)
class Seal:
    """Closes and opens what goes to the disk; without a passphrase it leaves everything as it is.

    Each use with a passphrase takes about 0.4 s of processor time and 128 MiB: not for an event loop.
    """

    passphrase: bytes | None = field(default=None, repr=False)

    def closed(self, secret: bytes) -> bytes:
        """What to write of *secret*."""
        return secret if self.passphrase is None else keystore.seal(secret, self.passphrase)

    def opened(self, content: bytes) -> bytes:
        """Undo `closed`, also of what was written before there was a passphrase.

        CannotUnseal if it was sealed with another one, or with one and there is none now.
        """
        if not keystore.is_sealed(content):
            return content
        if self.passphrase is None:
            raise CannotUnseal("it is sealed, and no passphrase was given")
        return keystore.unseal(content, self.passphrase)

    def is_due(self, path: Path) -> bool:
        """Whether the secret at *path* lies open, though there is a passphrase."""
        return self.passphrase is not None and not keystore.is_sealed(keystore.read(path))

    def read(self, path: Path) -> bytes:
        """The secret in the file at *path*."""
        try:
            return self.opened(keystore.read(path))
        except CannotUnseal as error:
            raise CannotUnseal(error.reason, path) from error


UNSEALED = Seal()
