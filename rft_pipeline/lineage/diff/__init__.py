"""Differences between two records of one stage, or between two rubrics on the same rollouts."""
