"""SPIFFE IDs, certificates, trust bundles, keys at rest, and decisions about rotation."""
