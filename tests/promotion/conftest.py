"""Stages run without MLflow here."""

from tests.pipeline.bare import bare as bare
