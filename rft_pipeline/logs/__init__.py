"""Fresh interaction logs → the prompts of a retraining cycle: read, left out, redacted, drawn."""
