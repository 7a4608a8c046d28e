"""Fetching a bundle from its endpoint, whose server has to prove itself as its profile says."""

import ssl
from collections.abc import Sequence
from typing import Final

import aiohttp
from cryptography import x509

from clusters.foreign import BundleEndpoint, Profile
from federation.errors import BundleNotFetched
from pki.bundle import spiffe_id_of
from pki.errors import PkiError
from pki.spiffe_bundle import LARGEST, pem

TIMEOUT: Final = 15.0


async def fetch(
    endpoint: BundleEndpoint, authorities: Sequence[x509.Certificate], timeout: float = TIMEOUT
) -> str:
    """The document that *endpoint* serves; with `https_spiffe`, *authorities* prove its server.

    BundleNotFetched says why there is none. Redirects are not followed: the operator says whom to believe.
    """
    try:
        context = _context(endpoint, authorities)
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout), auto_decompress=False, trust_env=False
        )
        async with session, session.get(endpoint.url, ssl=context, allow_redirects=False) as response:
            _check_server(endpoint, context.connection)
            if response.status != 200:
                where = f" to {response.headers['Location'][:200]}" if "Location" in response.headers else ""
                raise BundleNotFetched(
                    endpoint.trust_domain, f"it answers with status {response.status}{where}"
                )
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > LARGEST:
                    raise BundleNotFetched(endpoint.trust_domain, f"it is larger than {LARGEST} bytes")
            return content.decode()
    except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError, UnicodeDecodeError) as error:
        reason = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise BundleNotFetched(endpoint.trust_domain, reason) from error


class _Context(ssl.SSLContext):
    """A TLS context that remembers its connection: a response may have let go of it when we look."""

    connection: ssl.SSLObject | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        self.connection = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        return self.connection


def _context(endpoint: BundleEndpoint, authorities: Sequence[x509.Certificate]) -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    if endpoint.profile is Profile.WEB:
        context.load_default_certs()
        return context
    if not authorities:
        raise BundleNotFetched(
            endpoint.trust_domain, f"no bundle of {endpoint.proven_by} proves its server yet"
        )
    context.check_hostname = False  # it is known by its SPIFFE ID, wherever it is
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority need not be a root
    context.load_verify_locations(cadata="".join(pem(authorities)))
    return context


def _check_server(endpoint: BundleEndpoint, connection: ssl.SSLObject | None) -> None:
    """See to it that who answers is who it should be, before a word of it counts."""
    if endpoint.profile is Profile.WEB:
        return
    der = connection.getpeercert(binary_form=True) if connection else None
    if not der:
        raise BundleNotFetched(endpoint.trust_domain, "its server shows no certificate")
    try:
        shown = str(spiffe_id_of(x509.load_der_x509_certificate(der)))
    except (PkiError, ValueError) as error:
        raise BundleNotFetched(endpoint.trust_domain, str(error)) from error
    if shown != endpoint.spiffe_id:
        raise BundleNotFetched(endpoint.trust_domain, f"its server is {shown}, and not {endpoint.spiffe_id}")
