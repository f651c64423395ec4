"""Formats of rows: recognised from the first rows of a file, and read as rows of our own."""

from rft_pipeline.prompts.formats.convert import Converted, Plain, convert
from rft_pipeline.prompts.formats.layouts import LAYOUTS, LOGGED_REPLY, RowLayout
from rft_pipeline.prompts.formats.recognise import recognise

__all__ = ["LAYOUTS", "LOGGED_REPLY", "Converted", "Plain", "RowLayout", "convert", "recognise"]
