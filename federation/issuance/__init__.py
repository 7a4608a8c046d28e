"""How clusters get their next issuing CA from the hub: the service, its messages, the agent's end."""
