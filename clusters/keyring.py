"""The keys on an agent's disk by which it signs JWT-SVIDs.

    jwt-keys.json   0600; replaced as a whole; sealed if the agent has a passphrase

They belong to one membership: who joins again begins with new ones.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

from clusters.decoding import UNDECODABLE
from clusters.errors import IdentityUnusable
from clusters.identity import refuse_newer
from clusters.jwt_key import JwtKey
from pki import keystore
from pki.errors import CannotUnseal, PkiError
from pki.jwt_keys import SigningKey
from pki.jwt_svid import coordinates
from pki.rotation import Validity
from pki.sealing import UNSEALED, Seal
from pki.signer import KeySigner

FILE: Final = "jwt-keys.json"
_SCHEMA: Final = 1


def published(key: SigningKey) -> JwtKey:
    """The public half of *key*."""
    return JwtKey(key.key_id, *coordinates(key.signer.public_key()), key.validity.not_after)


def load(state: Path, seal: Seal = UNSEALED) -> tuple[SigningKey, ...]:
    """The keys in *state*, which *seal* opens; none before the first ones were made."""
    try:
        content = seal.read(state / FILE)
        refuse_newer(state, content, known=_SCHEMA)
        kept = msgspec.json.decode(content, type=_File).keys
        return tuple(SigningKey(KeySigner.from_pem(k.key.encode()), Validity(k.begins, k.ends)) for k in kept)
    except FileNotFoundError:
        return ()
    except (*UNDECODABLE, PkiError, ValueError) as error:
        away = "move the file away: new keys will be made, and JWT-SVIDs of the old ones refused"
        hint = error.hint if isinstance(error, CannotUnseal) else away
        raise IdentityUnusable(state, f"{FILE}: {error}", hint) from error


def save(state: Path, keys: tuple[SigningKey, ...], seal: Seal = UNSEALED) -> None:
    """Make these the keys in *state*, closed by *seal*."""
    kept = [
        _Key(key.signer.private_pem().decode(), key.validity.not_before, key.validity.not_after)
        for key in keys
    ]
    keystore.write(state / FILE, seal.closed(msgspec.json.encode(_File(_SCHEMA, kept))))


def forget(state: Path) -> None:
    """Have no keys in *state*."""
    (state / FILE).unlink(missing_ok=True)


_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class _Key(msgspec.Struct):
    key: str
    begins: _Instant
    ends: _Instant


class _File(msgspec.Struct):
    schema: int
    keys: list[_Key]
