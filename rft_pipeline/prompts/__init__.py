"""Prompts: reading prompts and interaction logs, redaction, overlap, and the draw of a retraining cycle."""
