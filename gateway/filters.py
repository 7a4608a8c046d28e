"""Filters of listeners: their frames, and what some of them set for each connection or request."""

from collections.abc import Mapping

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from google.protobuf.message import Message

from gateway import names
from gateway.messages import packed


def network_filter(name: str, config: Message) -> Filter:
    """A filter of connections."""
    return Filter(name=name, typed_config=packed(config))


def http_filter(name: str, config: Message) -> HttpFilter:
    """A filter of requests."""
    return HttpFilter(name=name, typed_config=packed(config))


def state(*values: FilterStateValue) -> Filter:
    """Set *values* for each new connection."""
    return network_filter("envoy.filters.network.set_filter_state", SetFilterState(on_new_connection=values))


def state_value(key: str, template: str) -> FilterStateValue:
    """Set *key* to what *template* says of the connection.

    Envoy knows the type of its own keys; ours are hashable strings, as any other kind shared with an
    internal listener shows the first caller's to everyone.
    """
    text = SubstitutionFormatString()
    text.text_format_source.inline_string = template
    value = FilterStateValue(object_key=key, format_string=text)
    if key.startswith("fed."):
        value.factory_key = "envoy.hashable_string"
    return value


def identity() -> FilterStateValue:
    """Name the caller's certificate.

    Hashable, so that connections of different callers are never pooled together; transitive, so that it
    gets past the internal listener.
    """
    value = state_value(names.IDENTITY_KEY, names.source_secret("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"))
    value.factory_key = "envoy.hashable_string"
    value.shared_with_upstream = FilterStateValue.TRANSITIVE
    return value


def header(name: str, value: str) -> HeaderValueOption:
    """Header *name* with *value*, whatever a caller may have sent of it."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def before_routing(headers: Mapping[str, str]) -> TypedExtensionConfig:
    """Write *headers* into each request, for the table of routes to read."""
    mutations = [Mutation(append=header(name, value)) for name, value in headers.items()]
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=packed(HeaderMutation(mutations=mutations)),
    )
