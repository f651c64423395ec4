"""Reading prompts and interaction logs, redaction, overlap, and drawing the prompts of a retraining cycle."""
