"""The agent's own checks of the endpoints that its source names."""
