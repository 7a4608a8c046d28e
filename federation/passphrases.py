"""Where the passphrase comes from that seals keys at rest: a file, the environment, or a systemd credential.

    --passphrase-file FILE                            of the command
    FEDGATE_PASSPHRASE_FILE                           the same, from the environment
    FEDGATE_PASSPHRASE                                itself; taken out of the environment as it is read
    $CREDENTIALS_DIRECTORY/fedgate.passphrase         `LoadCredential=fedgate.passphrase:…` of a unit

None is preferred: if two are there and differ, that is an error, for nobody knows which is meant. The ends of
a passphrase are stripped of white space, so that a file may end with a line break.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Final

from federation.errors import PassphraseUnclear
from pki import keystore

FILE_VARIABLE: Final = "FEDGATE_PASSPHRASE_FILE"
VARIABLE: Final = "FEDGATE_PASSPHRASE"
CREDENTIAL: Final = "fedgate.passphrase"
_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
_LONGEST: Final = 4096


def given(file: Path | None, environ: MutableMapping[str, str] = os.environ) -> bytes | None:
    """The passphrase that was given, by whichever way; None if none was. *file* is the option's.

    PassphraseUnclear if two differ, or one is empty; KeyExposed if others can read its file.
    """
    in_environment = environ.pop(VARIABLE, None)
    found = {source: secret.strip() for source, secret in _found(file, in_environment, environ)}
    for source, secret in found.items():
        if not secret or len(secret) > _LONGEST:
            reason = "is longer than 4,096 bytes" if secret else "is empty"
            raise PassphraseUnclear(f"the passphrase of {source} {reason}")
    if len(set(found.values())) > 1:
        raise PassphraseUnclear(f"{' and '.join(found)} give passphrases that differ")
    return next(iter(found.values()), None)


def _found(
    file: Path | None, in_environment: str | None, environ: Mapping[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Each source that is there, with what it says."""
    if file is not None:
        yield f"--passphrase-file {file}", keystore.read(file)
    if named := environ.get(FILE_VARIABLE):
        yield f"{FILE_VARIABLE}={named}", keystore.read(Path(named))
    if in_environment is not None:
        yield VARIABLE, os.fsencode(in_environment)
    if folder := environ.get(_CREDENTIALS):
        credential = Path(folder) / CREDENTIAL
        if credential.exists():
            # systemd sees to who can read it, in ways that the file's mode need not show.
            yield f"the credential {CREDENTIAL}", credential.read_bytes()
