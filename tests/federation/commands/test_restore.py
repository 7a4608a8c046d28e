"""`fedgate restore` says what an older backup may have opened again."""

from pathlib import Path

import pytest

from federation.backup.form import Backup, encode
from federation.registry import codec, keyspace
from federation.registry.grants import Default, Defaults, Grant, Grants
from pki import keystore
from tests.authorities import NOW
from tests.federation.conftest import Fedgate

DENIED = Grants(Defaults(exports=Default.DENY), grants=(Grant("shop", ("west",), exports=("shop/*",)),))


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        (DENIED, "1, and by default exports deny, imports allow, addresses allow"),
        (None, "0, and by default exports allow, imports allow, addresses allow"),
    ],
)
def test_a_restore_says_of_when_the_grants_are_and_what_is_open_by_default(
    tmp_path: Path, fedgate: Fedgate, grants: Grants | None, said: str
) -> None:
    saved = tmp_path / "saved"
    records = {keyspace.GRANTS: codec.encode(grants)} if grants else {}
    keystore.write(saved, encode(Backup(NOW, 4711, {}, records)))
    ended = fedgate("restore", str(saved))
    assert (ended.code, f"grants are those of revision 4711: {said}" in ended.out) == (0, True)
