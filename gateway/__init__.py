"""A view of the clusterset in, Envoy configuration out; served over ADS."""
