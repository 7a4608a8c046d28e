"""SVIDs for whoever may use the agent's issuance socket, one or many at a time, signed on all cores."""
