"""Files that an owner got wrong, or somebody else wrote: told line by line, or an offer that works."""

from contextlib import suppress
from typing import Final

import yaml
from hypothesis import given
from hypothesis import strategies as st

from clusters.errors import SourceError
from clusters.model import Offer
from clusters.sources import version
from clusters.sources.cursor import MAX_PROBLEMS
from clusters.sources.offer import parse_offer
from federation.dns.zone import Zone
from federation.knowledge import export_of
from federation.sync import records
from gateway.spec import GatewaySpec, Role
from gateway.translate import translate
from tests import builders
from tests.builders import CLOUD, ONPREM
from tests.hostile.strategies import Value, as_text, confused, damaged, hostile, noise, to_json

SPEC: Final = GatewaySpec("gw-1", frozenset(Role))
DOCUMENTS: Final[tuple[Value, ...]] = (
    {
        "services": [
            {
                "namespace": "shop",
                "name": "cart",
                "ports": [{"port": 8080, "targetPort": 18080, "name": "http", "appProtocol": "http"}, 9000],
                "endpoints": ["10.0.0.1", "fd00::1"],
                "allow": ["spiffe://cloud.fed.example/ns/shop/*"],
            },
            {"namespace": "shop", "name": "db", "ports": [5432], "endpoints": []},
        ],
        "workloads": [{"namespace": "shop", "name": "frontend", "addresses": ["10.0.0.2"]}],
        "gateways": [{"name": "gw-1", "addresses": ["192.0.2.1", "gw.example"], "port": 15008}],
    },
    {"services": [{"namespace": "a", "name": "b", "ports": [{"port": 53, "protocol": "UDP"}]}]},
)
FLOW: Final = tuple(to_json(document) for document in DOCUMENTS)
BLOCK: Final = tuple(yaml.safe_dump(document).encode() for document in DOCUMENTS)
TRICKS: Final = (
    "&a [*a, *a]",
    "a: &a b\nc: *a",
    "{" * 5000,
    "[" * 5000,
    "- " * 5000,
    "? " * 5000,
    "!!python/object/apply:os.system [id]",
    "%YAML 9.9\n---\n",
    "---\n" * 200,
    "services: !!binary aGk=",
    "<<: {services: []}",
    "\ufeffservices: []",
    "services: [\x00]",
    "a: |\n" + "  x\n" * 3000,
    '"' + "\\U0010FFFF" * 2000 + '"',
)

texts = st.one_of(
    confused(DOCUMENTS).map(to_json).map(lambda raw: raw.decode(errors="surrogatepass")),
    as_text(damaged(FLOW)),
    as_text(damaged(BLOCK)),
    st.sampled_from(TRICKS),
    as_text(noise()),
)


def offer_of(text: str) -> Offer | tuple[str, ...]:
    try:
        return parse_offer(text, "source.yaml")
    except SourceError as error:
        return error.problems


@hostile(150)
@given(texts)
def test_any_text_is_an_offer_or_told_to_be_wrong(text: str) -> None:
    found = offer_of(text)
    if not isinstance(found, Offer):
        assert 0 < len(found) <= MAX_PROBLEMS + 1


@hostile(150)
@given(texts)
def test_a_file_that_was_edited_is_read_as_one_that_is_new(text: str) -> None:
    before = version.read(BLOCK[0].decode(), "source.yaml", None)
    with suppress(SourceError):
        after = version.read(text, "source.yaml", before)
        assert after.offer == offer_of(text)
        return
    assert not isinstance(offer_of(text), Offer)


@hostile(60)
@given(texts)
def test_what_was_taken_can_be_served(text: str) -> None:
    found = offer_of(text)
    if isinstance(found, Offer):
        view = builders.view(builders.imported("cart", CLOUD, ONPREM))
        served = builders.view(*view.imports.values(), services=tuple(found.services.values()))
        translate(served, SPEC).check()
        Zone(served)
        for service in found.services.values():
            records.encode(export_of(service))
        for gateway in found.gateways:
            records.encode(gateway)
