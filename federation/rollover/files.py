"""The files of a rollover: the new root's beside the old one's, and each in its place as the registry says.

    (none)      root.pem is the root
    SPREADING   root.pem is the old root, next-root.pem the new one
    REISSUING   root.pem is the new root, old-root.pem the old one

Beside each root are its key, its hub CA and that one's key, the keys sealed. A root whose key is kept
elsewhere has no key file. The registry goes first, and `settle` brings the files after it, at each start too.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from federation.errors import RolloverLost
from federation.hub_authority import (
    HUB_CA,
    HUB_CA_KEY,
    ROOT,
    ROOT_KEY,
    HubAuthority,
    Successor,
    Vault,
    open_authority,
)
from federation.registry.records import RolloverRecord
from federation.rollover.phases import Phase
from pki import keystore
from pki.authority import from_pem

_NEXT: Final = "next-"
_OLD: Final = "old-"
_FILES: Final = (ROOT, ROOT_KEY, HUB_CA, HUB_CA_KEY)


def put_next(vault: Vault, files: Mapping[str, bytes]) -> None:
    """Put *files* of a new root beside the present ones, in place of any that were there."""
    _remove(vault.state, _NEXT)
    keystore.write_all(vault.state, {f"{_NEXT}{name}": content for name, content in files.items()})


def settle(vault: Vault, domain: str, rollover: RolloverRecord | None, now: datetime) -> HubAuthority:
    """Bring the files to where *rollover* is, and open what is there then."""
    arrange(vault, rollover)
    opened = open_authority(vault, domain, now)
    if rollover is None:
        return opened
    (old,), (new,) = from_pem(rollover.old), from_pem(rollover.new)
    if rollover.phase is Phase.SPREADING:
        opened.successor = Successor(new, vault.authority(f"{_NEXT}{HUB_CA}", f"{_NEXT}{HUB_CA_KEY}"))
    else:
        opened.former = old
    return opened


def arrange(vault: Vault, rollover: RolloverRecord | None) -> None:
    """Bring the files to where *rollover* is. Whoever dies in the middle of it does it again.

    Raises RolloverLost for files of another rollover.
    """
    if rollover is None:
        _remove(vault.state, _NEXT)
        _remove(vault.state, _OLD)
        return
    (old,), (new,) = from_pem(rollover.old), from_pem(rollover.new)
    if rollover.phase is Phase.SPREADING:
        _check(vault, ROOT, old)
        _check(vault, f"{_NEXT}{ROOT}", new)
        return
    if vault.certificates(ROOT) == (old,):
        _check(vault, f"{_NEXT}{ROOT}", new)
        _switch(vault)
    if vault.has(f"{_NEXT}{ROOT}") and not vault.has(f"{_NEXT}{ROOT_KEY}"):
        # Else the old root's key would lie beside the new root as if it were its own.
        (vault.state / ROOT_KEY).unlink(missing_ok=True)
    _remove(vault.state, _NEXT)
    _check(vault, ROOT, new)


def _switch(vault: Vault) -> None:
    """Put the new files in place of the present ones, and those aside: all of them or none."""
    files: dict[str, bytes] = {}
    for name in _FILES:
        if vault.has(name):
            files[f"{_OLD}{name}"] = keystore.read(vault.state / name)
        if vault.has(f"{_NEXT}{name}"):
            files[name] = keystore.read(vault.state / f"{_NEXT}{name}")
    keystore.write_all(vault.state, files)


def _remove(state: Path, prefix: str) -> None:
    """Remove the files of a root that is not, or no longer, of any use."""
    for name in _FILES:
        (state / f"{prefix}{name}").unlink(missing_ok=True)


def _check(vault: Vault, name: str, wanted: x509.Certificate) -> None:
    if not vault.has(name) or vault.certificates(name) != (wanted,):
        raise RolloverLost(str(vault.state), f"{name} is not the root that the registry's rollover says")
