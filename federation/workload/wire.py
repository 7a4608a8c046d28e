"""The messages of the SPIFFE Workload API, as bytes.

They are described here rather than generated, under a package of our own: on the wire a message has no name,
and a program that has the SPIFFE project's own modules loaded beside us keeps them. Maps are lists of
entries, as which they travel.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
from google.protobuf import descriptor_pool, message_factory, struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import DecodeError, Message

from federation.errors import UnreadableRecord

_PACKAGE: Final = "fedgate.workload.v1"

# Each field is NAME TYPE, in the order of their numbers; `*` repeats, and a capital is a message.
_MESSAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "Entry": ("key string", "value bytes"),
    "X509SVID": ("spiffe_id string", "x509_svid bytes", "x509_svid_key bytes", "bundle bytes", "hint string"),
    "X509SVIDResponse": ("svids X509SVID*", "crl bytes*", "federated_bundles Entry*"),
    "X509BundlesResponse": ("crl bytes*", "bundles Entry*"),
    "JWTSVIDRequest": ("audience string*", "spiffe_id string"),
    "JWTSVID": ("spiffe_id string", "svid string", "hint string"),
    "JWTSVIDResponse": ("svids JWTSVID*",),
    "JWTBundlesResponse": ("bundles Entry*",),
    "ValidateJWTSVIDRequest": ("audience string", "svid string"),
    "ValidateJWTSVIDResponse": ("spiffe_id string", "claims Struct"),
}
R = TypeVar("R")

_SCALARS: Final = {"string": FieldDescriptorProto.TYPE_STRING, "bytes": FieldDescriptorProto.TYPE_BYTES}


@dataclass(frozen=True, slots=True)
class X509Entry:
    """One X.509-SVID for its workload: chain, key and trust bundle in DER. `hint` tells it from others."""

    spiffe_id: str
    chain: bytes
    key: bytes = field(repr=False)
    bundle: bytes
    hint: str


@dataclass(frozen=True, slots=True)
class JwtEntry:
    """One JWT-SVID for its workload."""

    spiffe_id: str
    token: str = field(repr=False)
    hint: str


class JwtRequest(msgspec.Struct, frozen=True):
    """What a workload wants a JWT-SVID for, and as whom; without `spiffe_id` as everybody that it is."""

    audience: tuple[str, ...] = ()
    spiffe_id: str = ""


class ValidateRequest(msgspec.Struct, frozen=True):
    """A JWT-SVID that a workload was shown, and as whom it was addressed."""

    audience: str = ""
    svid: str = ""


def x509_svids(entries: Iterable[X509Entry], federated: Mapping[str, bytes]) -> bytes:
    """`X509SVIDResponse`; bundles go by the ID of their trust domain."""
    svids = [
        {
            "spiffe_id": entry.spiffe_id,
            "x509_svid": _binary(entry.chain),
            "x509_svid_key": _binary(entry.key),
            "bundle": _binary(entry.bundle),
            "hint": entry.hint,
        }
        for entry in entries
    ]
    return _written("X509SVIDResponse", {"svids": svids, "federated_bundles": _map(federated)})


def x509_bundles(bundles: Mapping[str, bytes]) -> bytes:
    """`X509BundlesResponse`."""
    return _written("X509BundlesResponse", {"bundles": _map(bundles)})


def jwt_svids(entries: Iterable[JwtEntry]) -> bytes:
    """`JWTSVIDResponse`."""
    svids = [{"spiffe_id": e.spiffe_id, "svid": e.token, "hint": e.hint} for e in entries]
    return _written("JWTSVIDResponse", {"svids": svids})


def jwt_bundles(bundles: Mapping[str, bytes]) -> bytes:
    """`JWTBundlesResponse`; each bundle is a JWK set."""
    return _written("JWTBundlesResponse", {"bundles": _map(bundles)})


def validated(spiffe_id: str, claims: bytes) -> bytes:
    """`ValidateJWTSVIDResponse`; *claims* as JSON."""
    read = msgspec.json.decode(claims, type=dict[str, object])
    return _written("ValidateJWTSVIDResponse", {"spiffe_id": spiffe_id, "claims": read})


def jwt_request(body: bytes) -> JwtRequest:
    """Read a `JWTSVIDRequest`; UnreadableRecord if it is none."""
    return _read("JWTSVIDRequest", body, JwtRequest)


def validate_request(body: bytes) -> ValidateRequest:
    """Read a `ValidateJWTSVIDRequest`; UnreadableRecord if it is none."""
    return _read("ValidateJWTSVIDRequest", body, ValidateRequest)


def _written(kind: str, content: Mapping[str, object]) -> bytes:
    """A message with *content*: the same bytes each time, so that who has them already is not sent them."""
    return ParseDict(dict(content), _new(kind)).SerializeToString(deterministic=True)


def _read(kind: str, body: bytes, as_: type[R]) -> R:
    message = _new(kind)
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise UnreadableRecord(kind, "not such a message") from error
    return msgspec.convert(MessageToDict(message, preserving_proto_field_name=True), as_)


def _map(entries: Mapping[str, bytes]) -> list[Mapping[str, str]]:
    return [{"key": key, "value": _binary(entries[key])} for key in sorted(entries)]


def _binary(content: bytes) -> str:
    """As protobuf's JSON has bytes."""
    return b64encode(content).decode()


def _new(kind: str) -> Message:
    found = descriptor_pool.Default().FindMessageTypeByName(f"{_PACKAGE}.{kind}")
    return message_factory.GetMessageClass(found)()


def _described() -> FileDescriptorProto:
    struct = struct_pb2.DESCRIPTOR.name
    file = FileDescriptorProto(
        name="fedgate/workload.proto", package=_PACKAGE, syntax="proto3", dependency=[struct]
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(fields, start=1):
            field_name, _, kind = text.partition(" ")
            message.field.append(_field(field_name, number, kind))
    return file


def _field(name: str, number: int, kind: str) -> FieldDescriptorProto:
    repeated, kind = kind.endswith("*"), kind.removesuffix("*")
    described = FieldDescriptorProto(name=name, number=number)
    described.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    described.type = _SCALARS.get(kind, FieldDescriptorProto.TYPE_MESSAGE)
    if kind not in _SCALARS:
        package = "google.protobuf" if kind == "Struct" else _PACKAGE
        described.type_name = f".{package}.{kind}"
    return described


descriptor_pool.Default().AddSerializedFile(_described().SerializeToString())
