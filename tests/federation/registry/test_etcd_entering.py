"""How a registry on etcd is entered: TLS, mutual TLS, user and password; and what becomes of that later."""

import asyncio
import ipaddress
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from etcd3.etcdrpc import rpc_pb2 as rpc

from federation.errors import StoreError, StoreUnreachable, StoreUnusable
from federation.registry.etcd.connection import Connection, Method, Refused
from federation.registry.etcd.location import Location
from federation.registry.etcd.store import EtcdStore
from federation.registry.store import Batch, Put
from pki import keystore
from pki.authority import Authority, new_root, to_pem
from pki.profile import Profile
from pki.signer import KeySigner
from tests import requirements
from tests.federation.registry.etcd_server import etcd

pytestmark = pytest.mark.slow


class Certificates:
    """A CA in *folder*, with the files of a server and of a client under it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.make()

    def make(self) -> None:
        """Make them, or put others in their place."""
        root = new_root("etcd.example", KeySigner.generate(), datetime.now(UTC))
        (self._folder / "ca.pem").write_text(to_pem([root.certificate]))
        for name in ("server", "client"):
            self._leaf(root, name)

    def _leaf(self, root: Authority, name: str) -> None:
        signer = KeySigner.generate()
        names = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")),)
        made = root.issue(Profile(timedelta(days=1), names=names), signer.public_key(), datetime.now(UTC))
        keystore.write(self._folder / f"{name}.pem", to_pem([made]).encode())
        keystore.write(self._folder / f"{name}.key", signer.private_pem())

    def __getitem__(self, name: str) -> Path:
        return self._folder / name

    def options(self, *, mutual: bool) -> list[str]:
        """What etcd is told."""
        told = ["--cert-file", str(self["server.pem"]), "--key-file", str(self["server.key"])]
        return [*told, "--client-cert-auth", "--trusted-ca-file", str(self["ca.pem"])] if mutual else told


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    requirements.program("etcd")
    return Certificates(tmp_path / "certificates")


async def works(location: Location) -> None:
    """Write, and be told of it."""
    store = await EtcdStore.open(location)
    commit = await store.commit([Put("a", b"1")])
    async with asyncio.timeout(10):
        batch = await anext(store.watch("", commit.revision - 1))
    assert [event.key for event in batch.events] == ["a"]
    await store.close()


async def test_it_is_entered_over_tls(certificates: Certificates, tmp_path: Path) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=False)) as (member,):
        await works(Location((member.endpoint,), ca_file=certificates["ca.pem"]))


async def test_who_has_another_certificate_is_not_taken_for_the_registry(
    certificates: Certificates, tmp_path: Path
) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=False)) as (member,):
        other = Certificates(tmp_path / "other")
        with pytest.raises(StoreUnreachable):
            await EtcdStore.open(Location((member.endpoint,), ca_file=other["ca.pem"]))


async def test_it_is_entered_with_a_certificate_and_not_without(
    certificates: Certificates, tmp_path: Path
) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=True)) as (member,):
        anybody = Location((member.endpoint,), ca_file=certificates["ca.pem"])
        with pytest.raises(StoreUnreachable):
            await EtcdStore.open(anybody)
        await works(
            Location(
                (member.endpoint,),
                ca_file=certificates["ca.pem"],
                cert_file=certificates["client.pem"],
                key_file=certificates["client.key"],
            )
        )


async def first_keys(watch: AsyncIterator[Batch]) -> list[str]:
    """What is told first, after however many interruptions."""
    while not (batch := await anext(watch)).events:
        pass
    return [event.key for event in batch.events]


async def test_certificates_may_be_replaced_while_it_is_used(
    certificates: Certificates, tmp_path: Path
) -> None:
    with etcd(tmp_path, options=certificates.options(mutual=True)) as (member,):
        location = Location(
            (member.endpoint,),
            ca_file=certificates["ca.pem"],
            cert_file=certificates["client.pem"],
            key_file=certificates["client.key"],
        )
        store = await EtcdStore.open(location)
        watch = store.watch("", (await store.commit([Put("a", b"1")])).revision)
        told = asyncio.ensure_future(first_keys(watch))
        certificates.make()
        member.signal(signal.SIGTERM)
        member.start()
        await store.commit([Put("b", b"2")])
        async with asyncio.timeout(20):
            assert await told == ["b"]
        await store.close()


async def _let_in_users(endpoint: str, password: str) -> None:
    """Have etcd ask for a name and a password from now on."""
    connection = Connection(Location((endpoint,)))
    user_added = Method("/etcdserverpb.Auth/UserAdd", rpc.AuthUserAddRequest, rpc.AuthUserAddResponse)
    role_added = Method("/etcdserverpb.Auth/RoleAdd", rpc.AuthRoleAddRequest, rpc.AuthRoleAddResponse)
    granted = Method(
        "/etcdserverpb.Auth/UserGrantRole", rpc.AuthUserGrantRoleRequest, rpc.AuthUserGrantRoleResponse
    )
    enabled = Method("/etcdserverpb.Auth/AuthEnable", rpc.AuthEnableRequest, rpc.AuthEnableResponse)
    await connection.call(user_added, rpc.AuthUserAddRequest(name="root", password=password))
    await connection.call(role_added, rpc.AuthRoleAddRequest(name="root"))
    await connection.call(granted, rpc.AuthUserGrantRoleRequest(user="root", role="root"))
    await connection.call(enabled, rpc.AuthEnableRequest())
    await connection.close()


def _entry(folder: Path, endpoint: str, password: str) -> Location:
    file = folder / "password"
    keystore.write(file, f"{password}\n".encode())
    return Location((endpoint,), user="root", password_file=file)


SHORT_LIVED: Sequence[str] = ("--auth-token-ttl", "2")


async def test_a_password_opens_it_and_a_token_that_ran_out_is_replaced(tmp_path: Path) -> None:
    requirements.program("etcd")
    with etcd(tmp_path, options=SHORT_LIVED) as (member,):
        await _let_in_users(member.endpoint, "sesame")
        store = await EtcdStore.open(_entry(tmp_path, member.endpoint, "sesame"))
        seen = (await store.commit([Put("a", b"1")])).revision
        told = asyncio.ensure_future(first_keys(store.watch("", seen)))
        await asyncio.sleep(5)
        await store.commit([Put("b", b"2")])
        async with asyncio.timeout(20):
            assert await told == ["b"]
        seen = (await store.commit([Put("c", b"3")])).revision
        async with asyncio.timeout(20):
            assert await first_keys(store.watch("", seen - 1)) == ["c"]
        await store.close()


async def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path) -> None:
    requirements.program("etcd")
    with etcd(tmp_path) as (member,):
        await _let_in_users(member.endpoint, "sesame")
        with pytest.raises(Refused, match="authentication failed") as refused:
            await EtcdStore.open(_entry(tmp_path, member.endpoint, "open-up"))
        assert "open-up" not in str(refused.value)
        with pytest.raises(StoreError):
            await EtcdStore.open(Location((member.endpoint,)))


async def test_where_nobody_listens_is_said_in_time() -> None:
    with pytest.raises(StoreUnreachable, match=r"etcd://127\.0\.0\.1:1/fedgate does not answer"):
        await EtcdStore.open(Location(("127.0.0.1:1",)))


async def test_an_empty_etcd_in_the_place_of_the_one_before_is_not_taken_for_it(tmp_path: Path) -> None:
    requirements.program("etcd")
    with etcd(tmp_path) as (member,):
        store = await EtcdStore.open(Location((member.endpoint,), "fed"))
        for _ in range(3):
            await store.commit([Put("fedgate/a", b"")])
        member.signal(signal.SIGTERM)
        member.start()
        assert await store.get("fedgate/a") is not None
        member.signal(signal.SIGTERM)
        shutil.rmtree(tmp_path / member.name)
        member.start()
        with pytest.raises(StoreUnusable, match="another etcd is in its place: at revision 1, and it was at"):
            await store.get("fedgate/a")
        await store.close()
