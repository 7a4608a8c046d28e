"""Another passphrase for all keys of a state folder, or of a store, while no hub or agent uses it."""

from pathlib import Path
from typing import Final

from clusters import keyring
from clusters.identity import KEY_FILE, NEXT_KEY_FILE
from federation.errors import Contention, NotFound, PassphraseUnclear
from federation.hub_authority import UNSEAL_KEY, new_unseal_key
from federation.registry import keyspace
from federation.registry.ledger import Ledger
from federation.registry.moving import refuse_used
from federation.registry.records import AuthoritiesRecord
from federation.registry.store import Store
from pki import keystore
from pki.sealing import Seal

_SEALED: Final = ".sealed"
_OF_HUB: Final = f"*{_SEALED}"
_OF_AGENT: Final = (KEY_FILE, NEXT_KEY_FILE, keyring.FILE)


def sealed_anew(state: Path, old: bytes | None, new: bytes | None) -> tuple[str, ...]:
    """Seal the keys in *state*, which *old* opens, with *new*; says which.

    A hub without *new* seals with a passphrase of its own, and an agent leaves its key open. CannotUnseal if
    *old* is not the one; then, and whenever this is interrupted, everything is as it was or all is done.
    """
    if new == b"":
        raise PassphraseUnclear("the new passphrase is empty")
    with keystore.exclusive(state):
        if of_hub := sorted(path.name for path in state.glob(_OF_HUB)):
            return _hub(state, of_hub, old, new)
        of_agent = [name for name in _OF_AGENT if (state / name).exists()]
        if not of_agent:
            raise NotFound("key", str(state))
        return _replaced(state, of_agent, Seal(old), Seal(new), {})


async def sealed_anew_in(store: Store, where: str, old: bytes | None, new: bytes) -> tuple[str, ...]:
    """Seal the keys of all hubs in *store*, called *where*, which *old* opens, with *new*; says which.

    StoreUnusable while a hub runs: it could open nothing any more. CannotUnseal if *old* is not the one.
    """
    if not new:
        raise PassphraseUnclear("the new passphrase is empty")
    await refuse_used(store, where)
    held = await Ledger(store).read(keyspace.AUTHORITIES, AuthoritiesRecord)
    if held.record is None:
        raise NotFound("key", where)
    before, after, files = Seal(old), Seal(new), dict(held.record.files)
    names = tuple(sorted(name for name in files if name.endswith(_SEALED)))
    for name in names:
        files[name] = after.closed(before.opened(files[name]))
    if not (await store.commit([held.put(AuthoritiesRecord(files))], [held.unchanged])).succeeded:
        raise Contention("keys")
    return names


def _hub(state: Path, names: list[str], old: bytes | None, new: bytes | None) -> tuple[str, ...]:
    own = state / UNSEAL_KEY
    before = Seal(old if old is not None or not own.exists() else keystore.read(own))
    if new is None:
        made = new_unseal_key()
        return _replaced(state, names, before, Seal(made), {own.name: made})
    done = _replaced(state, names, before, Seal(new), {})
    own.unlink(missing_ok=True)
    return done


def _replaced(
    state: Path, names: list[str], old: Seal, new: Seal, beside: dict[str, bytes]
) -> tuple[str, ...]:
    sealed = {name: new.closed(old.read(state / name)) for name in names}
    keystore.write_all(state, {**sealed, **beside})
    return tuple(names)
