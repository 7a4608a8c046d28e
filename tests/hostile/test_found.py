"""What the other properties have found: each was a crash, a hang or something half done, and stays here."""

import base64
from pathlib import Path

import grpc
import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clusters.admission import EnrolRequest
from clusters.model import Import
from clusters.names import ClusterName
from federation.api.http import ApiError, body_as
from federation.errors import ChangesRejected, SyncRefused, UnreadableRecord
from federation.knowledge import Knowledge
from federation.last_view import Received, decode
from federation.sync import frames, records
from gateway.delta import Catalogue, Request
from gateway.stream import Stream
from pki.csr import make_csr, verify_csr
from pki.errors import CsrRefused
from tests import builders
from tests.authorities import NOW, Authorities
from tests.hostile.test_ads import MESSAGES, served

DEEP = b'{"name": "x", "later": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"


def test_a_request_of_another_version_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.load_pem_x509_csr(make_csr(key).encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[der.index(b"\2\1\0") + 2] = 8
    body = base64.encodebytes(der).decode()
    with pytest.raises(CsrRefused):
        verify_csr(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n")


@pytest.mark.parametrize("body", [DEEP, b'{"token_id": "\xff"}'], ids=["too-deep", "no-utf-8"])
async def test_a_body_that_is_no_message_is_a_bad_request_and_not_our_fault(body: bytes) -> None:
    request = make_mocked_request("POST", "/")
    request._read_bytes = body
    with pytest.raises(ApiError) as refused:
        await body_as(request, EnrolRequest)
    assert refused.value.status == 400


def test_a_record_a_frame_and_a_view_that_are_too_deep_are_refused() -> None:
    with pytest.raises(UnreadableRecord):
        records.decode(Import, "shop/cart", DEEP)
    with pytest.raises(UnreadableRecord):
        decode(DEEP, "view.json")
    with pytest.raises(SyncRefused):
        frames.decode(b"\x82\xa4type\xa3bye\xa1x" + b"\x91" * 50_000)


async def test_of_two_federations_that_a_hub_tells_of_none_is_taken() -> None:
    pki = Authorities()
    received = Received(builders.federation(roots=(pki.root_pem,)))
    knowledge = Knowledge(ClusterName("onprem"), received, pki.roots, (), lambda: NOW)
    before = knowledge.view
    new = msgspec.json.encode(builders.federation(roots=("new",)))
    with pytest.raises(ChangesRejected):
        await knowledge.accept(records.FEDERATION, {"fed.example": new, "other.example": new})
    assert knowledge.view == before


def test_who_asks_for_what_is_not_there_and_never_answers_is_not_remembered_without_end() -> None:
    stream = Stream(Catalogue(), max_names=10)
    for count in range(1000):
        stream.receive(Request("kind", (f"name-{count}",)))
    assert stream.status()["kind"].pending < 40


async def test_who_asks_and_hangs_up_at_once_is_answered_and_let_go(short_path: Path) -> None:
    """Cut off in the middle of an answer, gRPC refused to end the call, for ever."""
    async with served(short_path) as server:
        for _ in range(200):
            assert await server.converse([MESSAGES[0]]) is grpc.StatusCode.OK
