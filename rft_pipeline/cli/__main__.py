"""`python -m rft_pipeline.cli` runs the command `rft`."""

from rft_pipeline.cli.app import main

main()
