"""Where a cluster's `Offer` comes from: each module reads one kind of source."""
