"""The stores that a backup can be of, and go to."""

from tests.federation.registry.conftest import bench as bench
from tests.federation.registry.conftest import one_etcd as one_etcd
from tests.federation.registry.conftest import store as store
