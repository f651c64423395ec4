"""The Dagster code location: one chain of assets for every folder below `data/`."""
