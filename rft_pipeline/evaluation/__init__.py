"""Evaluation: comparison of rounds on held-out prompts, KL to base, and the numbers of an eval report."""
