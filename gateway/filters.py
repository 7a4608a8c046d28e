"""Filters of listeners: their frames, and the filter state that some of them set."""

from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
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
