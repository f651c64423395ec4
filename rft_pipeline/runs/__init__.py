"""Dagster runs: the folder of the instance, starting, waiting for a slot, cancelling, and runs whose process died."""
