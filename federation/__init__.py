"""The control plane put together: hub and agent, registry, sync, service DNS, and the `fedgate` command."""
