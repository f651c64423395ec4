"""The code location on Kubernetes: each step is a pod of its own, with a GPU if it needs one."""

from dagster_k8s import k8s_job_executor

from rft_pipeline.store import Home

from .definitions import definitions

defs = definitions(Home.find(), k8s_job_executor)
