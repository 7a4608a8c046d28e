"""Messages that the Envoy we run knows, and xds-protos does not have yet.

Where Envoy takes a `TypedStruct` instead, `gateway.messages.untyped` does; a cluster's type is not such a
place. The file is described here as Envoy has it, so that the message can be read back as well.
"""

from collections.abc import Iterable
from typing import Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.json_format import ParseDict

from gateway.messages import packed

_PACKAGE: Final = "envoy.extensions.clusters.composite.v3"


def composite(clusters: Iterable[str]) -> Any:
    """A composite cluster's list: each attempt of a request or a tunnel goes to the next of *clusters*."""
    found = descriptor_pool.Default().FindMessageTypeByName(f"{_PACKAGE}.ClusterConfig")
    message = message_factory.GetMessageClass(found)()
    return packed(ParseDict({"clusters": [{"name": name} for name in clusters]}, message))


def _described() -> FileDescriptorProto:
    file = FileDescriptorProto(
        name="envoy/extensions/clusters/composite/v3/cluster.proto", package=_PACKAGE, syntax="proto3"
    )
    config = file.message_type.add(name="ClusterConfig")
    entry = config.nested_type.add(name="ClusterEntry")
    entry.field.add(
        name="name",
        number=1,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type=FieldDescriptorProto.TYPE_STRING,
    )
    config.field.add(
        name="clusters",
        number=1,
        label=FieldDescriptorProto.LABEL_REPEATED,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.ClusterConfig.ClusterEntry",
    )
    return file


descriptor_pool.Default().AddSerializedFile(_described().SerializeToString())
