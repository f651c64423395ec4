"""Lineage: what was made from what, read from records and tables.

A record names the records it read (`upstream`) and their contents (`inputs`). Stages are skipped by content, so another
record of equal content would have given the same result; such a link is marked `equal content`. Nothing is computed
again and no model is loaded.
"""
