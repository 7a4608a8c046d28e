from datetime import UTC, datetime

import msgspec
import pytest

from clusters.names import ClusterName
from federation.errors import SyncRefused
from federation.sync.frames import Ask, Bye, Frame, Hello, Tell, Welcome, check_versions, decode, encode
from gateway.delta import Request, Resource, Response

CLOCK = datetime(2026, 6, 1, 12, tzinfo=UTC)
HELLO = Hello(ClusterName("west"), CLOCK, "0.1.0", vip_ranges=("241.0.0.0/16",))


@pytest.mark.parametrize(
    "frame",
    [
        HELLO,
        Welcome(CLOCK, "0.1.0"),
        Ask(Request("kind", ("a",), ("b",), {"c": "1"}, "7", "no")),
        Tell(Response("kind", "7", (Resource("a", "1", b"\x00\xff"),), ("b",))),
        Bye("code", "reason", "hint"),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_decode_undoes_encode(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


def test_what_a_newer_fedgate_adds_is_ignored() -> None:
    newer = msgspec.msgpack.decode(encode(Tell(Response("kind", "1", (Resource("a", "1", b""),)))))
    newer["later"] = 1
    newer["response"]["later"] = 2
    newer["response"]["resources"][0]["later"] = 3
    assert decode(msgspec.msgpack.encode(newer)) == Tell(Response("kind", "1", (Resource("a", "1", b""),)))


def test_what_an_older_fedgate_left_out_has_its_default() -> None:
    older = {"type": "hello", "cluster": "west", "clock": "2026-06-01T12:00:00Z"}
    assert decode(msgspec.msgpack.encode(older)) == Hello(ClusterName("west"), CLOCK)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode("hello"),
        msgspec.msgpack.encode({"type": "of the future"}),
        msgspec.msgpack.encode({"type": "hello", "cluster": "west"}),
        msgspec.msgpack.encode({"type": "hello", "cluster": "west", "clock": "2026-06-01T12:00:00"}),
        encode(Hello(ClusterName("west"), CLOCK, "v" * 101)),
        encode(Hello(ClusterName("west"), CLOCK, vip_ranges=("::/64",) * 17)),
    ],
    ids=[
        "nothing",
        "no msgpack",
        "no frame",
        "unknown frame",
        "no clock",
        "a clock without a zone",
        "a version that is a book",
        "too many ranges",
    ],
)
def test_what_is_no_frame_is_refused(message: bytes) -> None:
    with pytest.raises(SyncRefused) as refused:
        decode(message)
    assert refused.value.code == "bad-frame"


@pytest.mark.parametrize("what", ["protocol", "schema"])
@pytest.mark.parametrize(("theirs", "ours"), [(2, 3), (3, 3), (4, 3), (1, 1), (2, 1)])
def test_a_peer_one_version_away_is_understood(what: str, theirs: int, ours: int) -> None:
    check_versions("agent", msgspec.structs.replace(HELLO, **{what: theirs}), **{what: ours})


@pytest.mark.parametrize("what", ["protocol", "schema"])
@pytest.mark.parametrize(
    ("theirs", "ours", "hint"),
    [
        (1, 3, "upgrade the agent, one release at a time"),
        (5, 3, "upgrade this side, one release at a time"),
        (0, 1, "upgrade the agent, one release at a time"),
    ],
)
def test_a_peer_further_away_is_refused_with_what_to_do(what: str, theirs: int, ours: int, hint: str) -> None:
    with pytest.raises(SyncRefused) as refused:
        check_versions("agent", msgspec.structs.replace(HELLO, **{what: theirs}), **{what: ours})
    assert refused.value.code == f"{what}-unsupported"
    assert f"the agent (fedgate 0.1.0) speaks {what} {theirs}, this side {ours}" in str(refused.value)
    assert refused.value.hint == hint
