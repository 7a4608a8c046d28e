"""The registry: what the hub knows of its clusters, kept in a store with revisions."""
