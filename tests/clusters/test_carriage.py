"""Which ports are carried request by request, and which as bytes."""

import pytest

from clusters.carriage import Carriage, carriage
from clusters.services import Port, Protocol


@pytest.mark.parametrize(
    "app_protocol",
    ["http", "HTTP", "http2", "grpc", "grpc-web", "kubernetes.io/ws", "kubernetes.io/h2c"],
)
def test_what_is_http_in_the_clear_is_carried_request_by_request(app_protocol: str) -> None:
    assert carriage(Port(80, app_protocol=app_protocol), passthrough=False) is Carriage.L7


@pytest.mark.parametrize("app_protocol", ["https", "tls", "kubernetes.io/wss", "tcp", "redis", "http3"])
def test_every_other_protocol_is_carried_as_bytes_whatever_the_port_is_called(app_protocol: str) -> None:
    assert carriage(Port(80, "http", app_protocol=app_protocol), passthrough=False) is Carriage.L4


@pytest.mark.parametrize(
    "name", ["http", "http-web", "http2", "http2-api", "grpc", "grpc-x", "grpc-web", "grpc-web-x"]
)
def test_without_a_protocol_the_name_of_the_port_says_it(name: str) -> None:
    assert carriage(Port(80, name), passthrough=False) is Carriage.L7


@pytest.mark.parametrize("name", ["", "https", "https-web", "httpx", "web-http", "grpcs", "tcp-http", "web"])
def test_a_name_that_only_looks_like_it_says_nothing(name: str) -> None:
    assert carriage(Port(80, name), passthrough=False) is Carriage.L4


def test_passthrough_is_for_all_ports_and_makes_none_that_is_not_carried() -> None:
    assert carriage(Port(80, "http", app_protocol="http"), passthrough=True) is Carriage.L4
    assert carriage(Port(53, "http", Protocol.UDP), passthrough=True) is Carriage.NONE
    assert carriage(Port(53, "http", Protocol.UDP, "http"), passthrough=False) is Carriage.NONE
