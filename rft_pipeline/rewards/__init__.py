"""From scores and labels to rewards and advantages: gates, weighted means, groups, the judges' noise."""
