"""The files of a rollover: the new root's beside the old one's, and each in its place as the registry says.

    (none)      root.pem is the root
    SPREADING   root.pem is the old root, next-root.pem the new one
    REISSUING   root.pem is the new root, old-root.pem the old one

Beside each root are its key, its hub CA and that one's key, the keys sealed. A root whose key is kept
elsewhere has no key file. The registry goes first, and `settle` brings the files after it, at each start too.
"""

from collections.abc import Mapping
from datetime import datetime
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
from pki.authority import from_pem

NEXT: Final = "next-"
OLD: Final = "old-"
_FILES: Final = (ROOT, ROOT_KEY, HUB_CA, HUB_CA_KEY)


def put_next(vault: Vault, files: Mapping[str, bytes]) -> None:
    """Put *files* of a new root beside the present ones, in place of any that were there."""
    _remove(vault, NEXT)
    vault.files.replace({f"{NEXT}{name}": content for name, content in files.items()})


def settle(
    vault: Vault, domain: str, rollover: RolloverRecord | None, now: datetime, *, renew: bool = True
) -> HubAuthority:
    """Bring the files to where *rollover* is, and open what is there then; *renew* is `open_authority`'s."""
    arrange(vault, rollover)
    opened = open_authority(vault, domain, now, renew=renew)
    if rollover is None:
        return opened
    (old,), (new,) = from_pem(rollover.old), from_pem(rollover.new)
    if rollover.phase is Phase.SPREADING:
        opened.successor = Successor(new, vault.authority(f"{NEXT}{HUB_CA}", f"{NEXT}{HUB_CA_KEY}"))
    else:
        opened.former = old
    return opened


def arrange(vault: Vault, rollover: RolloverRecord | None) -> None:
    """Bring the files to where *rollover* is. Whoever dies in the middle of it does it again.

    Raises RolloverLost for files of another rollover.
    """
    if rollover is None:
        _remove(vault, NEXT)
        _remove(vault, OLD)
        return
    (old,), (new,) = from_pem(rollover.old), from_pem(rollover.new)
    if rollover.phase is Phase.SPREADING:
        _check(vault, ROOT, old)
        _check(vault, f"{NEXT}{ROOT}", new)
        return
    if vault.certificates(ROOT) == (old,):
        _check(vault, f"{NEXT}{ROOT}", new)
        _switch(vault)
    if vault.has(f"{NEXT}{ROOT}") and not vault.has(f"{NEXT}{ROOT_KEY}"):
        # Else the old root's key would lie beside the new root as if it were its own.
        vault.files.remove([ROOT_KEY])
    _remove(vault, NEXT)
    _check(vault, ROOT, new)


def _switch(vault: Vault) -> None:
    """Put the new files in place of the present ones, and those aside: all of them or none."""
    files: dict[str, bytes] = {}
    for name in _FILES:
        if vault.has(name):
            files[f"{OLD}{name}"] = vault.files.read(name)
        if vault.has(f"{NEXT}{name}"):
            files[name] = vault.files.read(f"{NEXT}{name}")
    vault.files.replace(files)


def _remove(vault: Vault, prefix: str) -> None:
    """Remove the files of a root that is not, or no longer, of any use."""
    vault.files.remove(f"{prefix}{name}" for name in _FILES)


def _check(vault: Vault, name: str, wanted: x509.Certificate) -> None:
    if not vault.has(name) or vault.certificates(name) != (wanted,):
        raise RolloverLost(vault.files.where, f"{name} is not the root that the registry's rollover says")
