"""The registry on etcd: a thin client of our own, because its watch may lose nothing."""
