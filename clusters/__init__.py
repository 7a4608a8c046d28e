"""The nouns of a clusterset; how a cluster joins, and what it exports."""
