"""The SPIFFE project's own client at real agents: SVIDs of one cluster, believed in the other."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jwt
import pytest
from spiffe import JwtSvid, TrustDomain, WorkloadApiClient, X509Source
from spiffe.errors import PySpiffeError

from clusters.clock import utc_now
from pki.authority import to_pem
from pki.bundle import check_svid
from tests.system.cluster import Cluster, kill, until
from tests.system.federation_lab import Federation

pytestmark = [pytest.mark.envoy, pytest.mark.netns, pytest.mark.slow, pytest.mark.xdist_group("outages")]

T = TypeVar("T")
AUDIENCE = "spiffe://cloud.fed.example/ns/shop/sa/catalog"


def client(cluster: Cluster) -> WorkloadApiClient:
    return WorkloadApiClient(f"unix://{cluster.state}/workload.sock", default_timeout=10)


def uid_at(cluster: Cluster) -> int:
    """This process's user, as the agent of *cluster* sees it."""
    for line in Path(f"/proc/{cluster.agent.pid}/uid_map").read_text().splitlines():
        inside, outside, count = map(int, line.split())
        if outside <= os.geteuid() < outside + count:
            return inside + os.geteuid() - outside
    raise AssertionError("the agent cannot see who we are")


@contextmanager
def inhabited(cluster: Cluster) -> Iterator[str]:
    """While the block runs this process is a workload of *cluster*; gives its ID."""
    with cluster.edited() as source:
        source["workloads"].append({"namespace": "shop", "name": "us", "unix": {"uid": uid_at(cluster)}})
        cluster.write(source)
        with client(cluster) as asking:
            until(f"we are somebody in {cluster.name}", told, asking.fetch_x509_svid)
        yield cluster.identity("us")


def told(question: Callable[[], T]) -> T | None:
    """What *question* is answered; None while it is refused."""
    try:
        return question()
    except PySpiffeError:
        return None


def validated(cluster: Cluster, token: str) -> JwtSvid | None:
    """What *token* proves in *cluster*, if it does."""
    with client(cluster) as asking:
        return told(lambda: asking.validate_jwt_svid(token, AUDIENCE))


def test_what_one_cluster_signs_the_other_believes_also_while_the_hub_is_away(frail: Federation) -> None:
    home, far = frail.onprem, frail.cloud
    with inhabited(home) as identity, inhabited(far), client(home) as here, client(far) as there:
        svid = here.fetch_x509_svid()
        assert str(svid.spiffe_id) == identity
        bundle = there.fetch_x509_bundles().get_bundle_for_trust_domain(TrustDomain("onprem.fed.example"))
        assert bundle is not None
        anchors = list(bundle.x509_authorities)
        proven = check_svid(to_pem(svid.cert_chain), anchors, "onprem.fed.example", utc_now())
        assert str(proven) == identity

        first = here.fetch_jwt_svid({AUDIENCE})
        until("its JWT key is known over there", validated, far, first.token)
        kill(frail.hub)
        believed = validated(far, here.fetch_jwt_svid({AUDIENCE}).token)
        frail.start_hub()
        assert believed is not None
        assert str(believed.spiffe_id) == identity


def test_who_watches_is_told_by_the_agent_that_takes_over_and_tokens_stay_good(frail: Federation) -> None:
    home = frail.onprem
    where = f"unix://{home.state}/workload.sock"
    with inhabited(home), client(home) as asking, X509Source(None, where, 10) as source:
        before, serial = asking.fetch_jwt_svid({AUDIENCE}), serial_of(source)
        home.start_agent("--take-over")
        until("the watcher has what the new agent made", lambda: serial_of(source) != serial)
        after = until("it signs", told, lambda: asking.fetch_jwt_svid({AUDIENCE}))
        assert after is not None
        assert key_of(after) == key_of(before)
        assert validated(home, before.token) is not None


def serial_of(source: X509Source) -> int:
    return source.get_x509_context().default_svid.leaf.serial_number


def key_of(svid: JwtSvid) -> object:
    return jwt.get_unverified_header(svid.token)["kid"]
