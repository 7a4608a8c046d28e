"""The lab and the demo: hosts as network namespaces, sample programs, and calls between two clusters."""
