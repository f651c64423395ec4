"""The command `rft`."""
