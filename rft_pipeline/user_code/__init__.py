"""A user's own Python code: found and hashed without running it, and run in a process of its own."""

from rft_pipeline.user_code.code import Code
from rft_pipeline.user_code.worker import UserCodeError, Worker, worker

__all__ = ["Code", "UserCodeError", "Worker", "worker"]
