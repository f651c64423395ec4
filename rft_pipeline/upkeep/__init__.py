"""Upkeep of the store: finds missing or changed data (`verify`) and removes what nothing needs (`gc`)."""
