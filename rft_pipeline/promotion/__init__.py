"""Promotion: which round becomes the champion, by lower bounds on held-out prompts."""
