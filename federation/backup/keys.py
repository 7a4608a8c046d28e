"""The authorities' files of a hub, as they go into a backup: certificates as they are, keys sealed.

A hub that was given a passphrase has sealed its keys with it, and so they travel. One that was given none has
made its own, which lies beside the keys and must not lie beside them in a backup: the keys are sealed anew.
"""

from pathlib import Path
from typing import Final

from federation.errors import PassphraseUnclear
from federation.hub_authority import HUB_CA, ROOT, UNSEAL_KEY
from pki import keystore
from pki.sealing import Seal

_SEALED: Final = "*.sealed"
_KINDS: Final = (f"*{ROOT}", f"*{HUB_CA}", _SEALED)


def held(state: Path) -> dict[str, bytes]:
    """The authorities' files in *state*, by name, as they are."""
    paths = {path for kind in _KINDS for path in state.glob(kind) if not path.name.startswith(".")}
    return {path.name: keystore.read(path) for path in sorted(paths)}


def sealed(state: Path, files: dict[str, bytes], passphrase: bytes | None) -> dict[str, bytes]:
    """*files* of *state* with the keys sealed by what the operator knows.

    PassphraseUnclear if that is needed and was not given, CannotUnseal if the hub's is another. Takes a
    second for each key.
    """
    own = state / UNSEAL_KEY
    keys = [name for name in files if name.endswith(_SEALED.removeprefix("*"))]
    if not own.exists():
        for name in keys[:1] if passphrase is not None else ():
            Seal(passphrase).read(state / name)
        return files
    if passphrase is None and keys:
        raise PassphraseUnclear(
            "the backup's keys need a passphrase of yours: this hub was given none, and what it has made for "
            "itself stays here"
        )
    before, after = Seal(keystore.read(own)), Seal(passphrase)
    return files | {name: after.closed(before.opened(files[name])) for name in keys}


def stray(state: Path, files: dict[str, bytes]) -> list[Path]:
    """What is in *state* of a hub and is not of that whose *files* are put there."""
    own = ("hub.pem", "hub.key", "next-hub.pem", "next-hub.key", UNSEAL_KEY)
    there = [*(state / name for name in held(state)), *(state / name for name in own)]
    return [path for path in there if path.exists() and path.name not in files]
