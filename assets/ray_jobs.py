"""The code location on a Ray cluster: each step is a Ray job of its own, with a GPU if it needs one."""

from dagster_ray import ray_executor

from rft_pipeline.store import Home

from .definitions import definitions

defs = definitions(Home.find(), ray_executor.configured({"ray": {"num_cpus": 1}}, name="ray"))
