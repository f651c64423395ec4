"""Held-out comparison of rounds, KL to base, and the numbers of an eval report."""
