"""Upkeep of the store: checks it (`verify`), removes what nothing needs (`gc`), and copies it (`rft store copy`)."""
