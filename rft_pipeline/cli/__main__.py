"""`python -m rft_pipeline.cli` is the command `rft`."""

from rft_pipeline.cli.app import main

main()
