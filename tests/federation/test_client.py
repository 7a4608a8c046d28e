"""Asking the admin API: every way in which it can go wrong has an error of its own."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clusters.errors import InvalidValue
from federation.client import Admin, Endpoint, endpoint
from federation.errors import AdminRefused, AdminTimedOut, AdminUnreachable, Exit
from pki import profile
from pki.authority import new_root, to_pem
from pki.signer import KeySigner
from tests.federation.fake_admin import FakeAdmin

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"


def asking(where: str, timeout: float = 10.0) -> Admin:
    return Admin(endpoint("hub", where), timeout)


def test_a_hub_is_found_by_its_socket_its_state_folder_or_a_unix_url(hub: FakeAdmin) -> None:
    hub.answers["GET /v1/clusters"] = {"clusters": []}
    for where in (str(hub.path), str(hub.path.parent), f"unix://{hub.path}"):
        assert asking(where).get("/v1/clusters") == {"clusters": []}


def test_queries_and_names_are_escaped_and_what_is_none_is_not_asked(hub: FakeAdmin) -> None:
    hub.answers |= {"GET /v1/resolve": {}, "DELETE /v1/tokens/a%2Fb": {}}
    asking(str(hub.path)).get("/v1/resolve", name="a b&c", type=None)
    asking(str(hub.path)).delete("/v1/tokens", "a/b")
    assert [asked.target for asked in hub.asked] == ["/v1/resolve?name=a+b%26c", "/v1/tokens/a%2Fb"]


def test_no_socket_means_that_nobody_answers_and_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(AdminUnreachable, match=r"no hub answers at .*: no such socket") as refused:
        asking(str(tmp_path)).get("/v1/clusters")
    assert "fedgate hub" in refused.value.hint


def test_a_socket_that_a_dead_hub_left_behind_means_that_nobody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "admin.sock"))
    with pytest.raises(AdminUnreachable, match="nobody listens"):
        asking(str(tmp_path)).get("/v1/clusters")


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [
        (400, Exit.USAGE),
        (401, Exit.FORBIDDEN),
        (403, Exit.FORBIDDEN),
        (404, Exit.NOT_FOUND),
        (409, Exit.CONFLICT),
        (500, Exit.CHECK_FAILED),
        (503, Exit.UNREACHABLE),
        (504, Exit.TIMED_OUT),
    ],
)
def test_a_refusal_keeps_its_words_and_becomes_the_exit_code_that_fits(
    hub: FakeAdmin, status: int, exit_code: Exit
) -> None:
    hub.answers["GET /v1/x"] = (
        status,
        {"error": {"code": "why", "message": "no because", "hint": "do that"}},
    )
    with pytest.raises(AdminRefused, match="no because") as refused:
        asking(str(hub.path)).get("/v1/x")
    assert (refused.value.code, refused.value.hint, refused.value.exit_code) == ("why", "do that", exit_code)


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b"\xff", b"nul"])
def test_an_answer_that_is_no_object_is_refused_with_its_status(hub: FakeAdmin, answer: bytes) -> None:
    hub.answers["GET /v1/x"] = answer
    with pytest.raises(AdminRefused, match="answered 200 with something that is no JSON object"):
        asking(str(hub.path)).get("/v1/x")


@contextmanager
def raw_hub(path: Path, *parts: bytes, pace: float = 0) -> Iterator[None]:
    """Answers the first request with *parts*, *pace* seconds apart; then is silent, but stays."""
    done = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            with contextlib.suppress(BrokenPipeError):
                for part in parts:
                    connection.sendall(part)
                    done.wait(pace)
            done.wait()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200",), (ANSWER, b"{")])
def test_a_hub_that_stops_in_the_middle_is_given_up_at_the_deadline(
    tmp_path: Path, parts: tuple[bytes, ...]
) -> None:
    with raw_hub(tmp_path / "admin.sock", *parts), pytest.raises(AdminTimedOut, match=r"within 0\.05 s"):
        asking(str(tmp_path), 0.05).get("/v1/x")


def test_a_hub_that_drips_cannot_stretch_the_deadline(tmp_path: Path) -> None:
    """Every byte comes in time, and so would the last one if each were waited for anew."""
    drips = [bytes([byte]) for byte in b'{"slow": 12}']
    with raw_hub(tmp_path / "admin.sock", ANSWER, *drips, pace=0.02), pytest.raises(AdminTimedOut):
        asking(str(tmp_path), 0.1).get("/v1/x")


@pytest.mark.parametrize(
    "where", ["http://hub:7443", "https://", "https://hub/path", "https://me@hub", "ftp://x"]
)
def test_where_no_admin_api_can_be_is_refused(where: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue):
        endpoint("hub", where, tmp_path / "token")


def test_https_without_a_token_is_refused() -> None:
    with pytest.raises(InvalidValue, match="--admin-token-file"):
        endpoint("hub", "https://hub.example:7445")


def test_a_token_file_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o640)
    with pytest.raises(InvalidValue, match=f"chmod 600 {token}") as refused:
        Admin(endpoint("hub", "https://127.0.0.1:1", token), 1).get("/v1/x")
    assert "secret" not in str(refused.value)


class TlsHub:
    """The admin API over TLS with a hub's certificate; remembers the one request that it gets."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        root = new_root("fed.example", KeySigner.generate(), now)
        ca = root.subordinate(profile.hub_ca("fed.example"), KeySigner.generate(), now)
        key = KeySigner.generate()
        certificate = ca.issue(profile.hub("fed.example"), key.public_key(), now)
        self.root = folder / "root.pem"
        self.root.write_text(to_pem([root.certificate]))
        chain, private = folder / "hub.pem", folder / "hub.key"
        chain.write_text(to_pem([certificate, *ca.chain]))
        private.write_bytes(key.private_pem())
        self.token = folder / "token"
        self.token.touch(0o600)
        self.token.write_text("s3cret\n")
        self.request = b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain, private)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve_one)
        self._thread.start()

    def where(self, ca_file: Path | None) -> Endpoint:
        return endpoint("hub", f"https://127.0.0.1:{self._listening.getsockname()[1]}", self.token, ca_file)

    def _serve_one(self) -> None:
        connection, _ = self._listening.accept()
        try:
            with self._context.wrap_socket(connection, server_side=True) as tls:
                self.request = tls.recv(65536)
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except OSError:
            connection.close()

    def close(self) -> None:
        self._thread.join()
        self._listening.close()


@pytest.fixture
def tls_hub(tmp_path: Path) -> Iterator[TlsHub]:
    hub = TlsHub(tmp_path)
    yield hub
    hub.close()


def test_a_hub_elsewhere_is_checked_by_its_own_root_and_name_at_whatever_address(tls_hub: TlsHub) -> None:
    assert Admin(tls_hub.where(tls_hub.root), 10).get("/v1/clusters") == {}
    assert b"Authorization: Bearer s3cret\r\n" in tls_hub.request


def test_a_hub_that_the_system_does_not_trust_never_sees_the_token(tls_hub: TlsHub) -> None:
    with pytest.raises(AdminUnreachable, match="certificate"):
        Admin(tls_hub.where(None), 10).get("/v1/clusters")
    assert tls_hub.request == b""
