"""Trust domains outside of the federation: their bundles are followed, and ours are served to them."""
