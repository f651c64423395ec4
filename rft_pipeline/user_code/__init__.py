"""A user's own Python code: found and hashed without running it, and run in a process of its own."""

from rft_pipeline.user_code.code import Code
from rft_pipeline.user_code.process import CodeProcess, UserCodeError, code_process

__all__ = ["Code", "CodeProcess", "UserCodeError", "code_process"]
