"""The bundle endpoint's listener: with the hub's own SVID, or with a certificate that the web knows."""

import asyncio
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from clusters.names import ClusterName
from federation.api.bundles import bundles_application
from federation.api.http import served_on_tls
from federation.errors import WebCertificateUnusable
from federation.log import Log
from federation.registry import keyspace
from federation.registry.mirror import Mirror
from federation.settings import HubSettings, host_port
from pki.errors import InvalidTrustDomain
from pki.spiffe import cluster_of

log = Log(__name__)

_LOOK: Final = 10.0


class WebCertificate:
    """The operator's certificate and key, read anew when their files are others."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._seen = self._state()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2  # as web clients may have it
        self._load()

    async def follow(self) -> None:
        """Show the newest one, for ever; one that cannot be used changes nothing."""
        while True:
            await asyncio.sleep(_LOOK)
            if (state := self._state()) != self._seen:
                self._seen = state
                try:
                    self._load()
                    log.info("bundle endpoint's certificate read", path=self._files[0])
                except WebCertificateUnusable as error:
                    log.error("bundle endpoint's certificate not used", reason=str(error))

    def _load(self) -> None:
        certificate, key = self._files
        try:
            self.tls.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise WebCertificateUnusable(certificate, key, str(error)) from error

    def _state(self) -> tuple[tuple[int, int], ...]:
        try:
            found = [path.stat() for path in self._files]
        except OSError:
            return ()
        return tuple((status.st_ino, status.st_mtime_ns) for status in found)


def bundles_served(
    settings: HubSettings, mirror: Mirror, tls: ssl.SSLContext
) -> AbstractAsyncContextManager[int]:
    """Serve the bundles where *settings* say; gives the port."""
    domain = settings.domain

    def sequence(trust_domain: str) -> int:
        return mirror.revision(*_keys(trust_domain, domain))

    app = bundles_application(mirror.clusterset, sequence, settings.bundle_refresh)
    return served_on_tls(app, *host_port(settings.bundle_listen or ""), tls)


def _keys(trust_domain: str, domain: str) -> tuple[str, ...]:
    """The records that the bundle of *trust_domain* is made of."""
    if trust_domain == domain:
        return (keyspace.FEDERATION,)
    try:
        cluster = ClusterName(cluster_of(trust_domain, domain))
    except InvalidTrustDomain:
        return ()
    return keyspace.cluster(cluster), keyspace.jwt_keys(cluster)
