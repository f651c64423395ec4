"""Sandbox: runs a program that a model wrote against tests, where it can reach nothing and forge nothing."""

from rft_pipeline.sandbox.running import BrokenTestsError, SandboxError, SandboxResult, run_program, run_tests
from rft_pipeline.sandbox.settings import AnySandbox, Limits, OwnSandbox
from rft_pipeline.sandbox.starting import python_in, why_unusable

__all__ = [
    "AnySandbox",
    "BrokenTestsError",
    "Limits",
    "OwnSandbox",
    "SandboxError",
    "SandboxResult",
    "python_in",
    "run_program",
    "run_tests",
    "why_unusable",
]
