"""Upkeep of the store: what is missing or altered in it (`verify`), and what nothing reaches any more (`gc`)."""
