"""What a real etcd is entered with: certificates, or a user and a password."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from etcd3.etcdrpc import rpc_pb2 as rpc

from federation.registry.etcd.connection import Connection, Method
from federation.registry.etcd.location import Location
from pki import keystore
from pki.authority import new_root, to_pem
from pki.profile import Profile
from pki.signer import KeySigner
from tests.federation.registry.etcd_server import Member

SHORT_LIVED: Final = ("--auth-token-ttl", "2")
"""What an etcd is told whose tokens run out after 2 s without use."""


class Certificates:
    """A CA in *folder*, with the files of a server and of a client under it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.make()

    def make(self) -> None:
        """Make them, or put others in their place, of another CA too."""
        self._root = new_root("etcd.example", KeySigner.generate(), datetime.now(UTC))
        (self._folder / "ca.pem").write_text(to_pem([self._root.certificate]))
        self.renew()

    def renew(self) -> None:
        """Put others of the same CA in the place of the server's and the client's."""
        for name in ("server", "client"):
            self._leaf(name)

    def _leaf(self, name: str) -> None:
        signer = KeySigner.generate()
        names = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")),)
        made = self._root.issue(
            Profile(timedelta(days=1), names=names), signer.public_key(), datetime.now(UTC)
        )
        keystore.write(self._folder / f"{name}.pem", to_pem([made]).encode())
        keystore.write(self._folder / f"{name}.key", signer.private_pem())

    def __getitem__(self, name: str) -> Path:
        return self._folder / name

    def options(self, *, mutual: bool) -> list[str]:
        """What etcd is told."""
        told = ["--cert-file", str(self["server.pem"]), "--key-file", str(self["server.key"])]
        return [*told, "--client-cert-auth", "--trusted-ca-file", str(self["ca.pem"])] if mutual else told

    def entry(self, members: Sequence[Member]) -> Location:
        """Where *members* are, for who shows the client's certificate."""
        return Location(
            tuple(member.endpoint for member in members),
            ca_file=self["ca.pem"],
            cert_file=self["client.pem"],
            key_file=self["client.key"],
        )


async def let_in_users(endpoint: str, password: str) -> None:
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


def with_password(folder: Path, members: Sequence[Member], password: str) -> Location:
    """Where *members* are, for `root` with this *password*."""
    file = folder / "password"
    keystore.write(file, f"{password}\n".encode())
    return Location(tuple(member.endpoint for member in members), user="root", password_file=file)
