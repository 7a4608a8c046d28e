"""The stream between hub and agent: the delta discovery protocol both ways, over our own resources."""
