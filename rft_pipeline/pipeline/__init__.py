"""Runs one stage: fingerprint, skip when cached, call, record, track. Written once for all stages."""

from rft_pipeline.pipeline.runner import Pipeline

__all__ = ["Pipeline"]
