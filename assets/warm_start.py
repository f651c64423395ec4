"""The policy after it imitated the references."""

from dataclasses import replace

from .checkpoints import BINDING as OF_ROUNDS

BINDING = replace(OF_ROUNDS, stage="warm_start")
