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
def test_a_restore_says_of_when_all_is_what_is_open_by_default_and_how_to_go_on(
    tmp_path: Path, fedgate: Fedgate, grants: Grants | None, said: str
) -> None:
    saved, state = tmp_path / "saved", tmp_path / "hub"
    records = {f"fedgate/tokens/t-{n}": b"{}" for n in range(3)}
    records |= {keyspace.GRANTS: codec.encode(grants)} if grants else {}
    keystore.write(saved, encode(Backup(NOW, 4711, {}, records)))
    ended = fedgate("restore", str(saved), "--state", str(state))
    assert (ended.code, ended.err) == (
        0,
        f"next: fedgate hub --state {state} --passphrase-file FILE\n",
    )
    assert ended.out.splitlines() == [
        f"{len(records)} records of {NOW:%Y-%m-%d %H:%M:%S} UTC restored to {state}",
        f"grants are those of revision 4711: {said}; what was closed or revoked since is open again",
    ]
