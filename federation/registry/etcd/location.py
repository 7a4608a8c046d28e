"""Where an etcd is and how it is entered: `etcd://h1,h2:2379,h3/prefix`, and the files beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.errors import InvalidValue

SCHEME: Final = "etcd://"
PORT: Final = 2379
DEFAULT_PREFIX: Final = "fedgate"


@dataclass(frozen=True, slots=True)
class Location:
    """The members of one etcd, *prefix* in front of every key, and what shows who we are.

    With *ca_file* it is TLS, and with *cert_file* and *key_file* mutual TLS. Files are read whenever a
    connection is made, so they may be replaced at any time.
    """

    endpoints: tuple[str, ...]
    prefix: str = DEFAULT_PREFIX
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    user: str = ""
    password_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise InvalidValue("etcd", self.text, "a certificate needs its key, and a key its certificate")
        if self.cert_file and not self.ca_file:
            raise InvalidValue(
                "etcd", self.text, "a certificate is shown over TLS only: say which CA etcd has"
            )
        if bool(self.user) != (self.password_file is not None):
            raise InvalidValue("etcd", self.text, "a user needs a password file, and a password file a user")

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{SCHEME}{','.join(self.endpoints)}/{self.prefix}"


def endpoints_and_prefix(text: str) -> tuple[tuple[str, ...], str]:
    """Take `etcd://h1,h2:2379,[2001:db8::1]/prefix` apart; a member without a port is at 2379."""
    members, _, prefix = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not members:
        raise InvalidValue("store", text, "want etcd://HOST[:PORT],.../PREFIX")
    prefix = prefix.strip("/") or DEFAULT_PREFIX
    if not prefix.isascii() or not prefix.isprintable():
        raise InvalidValue("store", text, "the prefix must be printable ASCII")
    return tuple(_endpoint(text, member) for member in members.split(",")), prefix


def _endpoint(text: str, member: str) -> str:
    host, colon, port = member.rpartition(":")
    if not colon or member.endswith("]"):
        host, port = member, str(PORT)
    if not host or "@" in host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidValue("store", text, f"{member!r} is not HOST or HOST:PORT")
    if ":" in host and not host.startswith("["):
        raise InvalidValue("store", text, f"write the IPv6 address {host} in brackets")
    return f"{host}:{port}"
