"""Rewards: from scores and labels to rewards and advantages, with gates and the judges' noise."""
