"""gRPC's TLS takes our chains, and holds them to their name constraints as our own verifier does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import grpc
import pytest

from pki import profile
from pki.authority import sign
from pki.profile import HUB_DNS_NAME
from pki.signer import KeySigner
from pki.spiffe import SpiffeId, agent_id
from tests.authorities import Authorities, Credential

FED = Authorities(now=datetime.now(UTC))
WEST = agent_id("west.fed.example")


class WhoAreYou(grpc.GenericRpcHandler):
    """Answers any call with the caller's SPIFFE ID, as gRPC understood it."""

    def service(self, _: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        (shown,) = context.auth_context()["peer_spiffe_id"]
        return bytes(shown)


@pytest.fixture
def hub() -> Iterator[int]:
    """A gRPC server with the hub's certificate, that asks callers for theirs; its port."""
    own = FED.hub()
    pair = (own.key_pem.encode(), own.chain_pem.encode())
    server = grpc.server(ThreadPoolExecutor(1), handlers=[WhoAreYou()])
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([pair], FED.root_pem.encode(), require_client_auth=True)
    )
    server.start()
    yield port
    server.stop(None).wait()


def call(port: int, caller: Credential) -> bytes:
    credentials = grpc.ssl_channel_credentials(
        FED.root_pem.encode(), caller.key_pem.encode(), caller.chain_pem.encode()
    )
    options = [("grpc.ssl_target_name_override", HUB_DNS_NAME)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/any/call")
        return ask(b"", timeout=5)


def test_hub_and_agent_take_each_other(hub: int) -> None:
    assert call(hub, FED.svid(WEST)) == str(WEST).encode()


def test_an_agent_that_signs_itself_anothers_id_is_refused(hub: int) -> None:
    with pytest.raises(grpc.RpcError):
        call(hub, minted(agent_id("east.fed.example")))
    assert call(hub, minted(WEST)) == str(WEST).encode()


def minted(spiffe_id: SpiffeId) -> Credential:
    """What west's issuing key can be made to sign."""
    issuing, signer = FED.issuing_ca("west"), KeySigner.generate()
    certificate = sign(
        profile.svid(spiffe_id),
        signer.public_key(),
        issuer=issuing.certificate,
        signer=issuing.signer,
        now=FED.now,
    )
    return Credential((certificate, *issuing.chain), signer)
