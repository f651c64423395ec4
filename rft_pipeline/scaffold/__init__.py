"""A new campaign, copied from one that is there: its settings with their comments, and prompts of one's own."""
