"""Benchmarks: each answers one question with one command; README.md lists them."""
