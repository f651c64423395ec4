"""Servers of `rft ui`: Dagster's with the pages of records, MLflow's, and the way from one to the other."""
