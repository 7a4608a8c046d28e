"""The SPIFFE Workload API: workloads on the agent's machine fetch their own SVIDs, and whom to believe."""
