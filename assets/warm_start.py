"""The policy after it imitated the references."""

from .checkpoints import BINDING as OF_ROUNDS
from .stage import Binding

BINDING = Binding(stage="warm_start", kinds=OF_ROUNDS.kinds, metadata=OF_ROUNDS.metadata, checks=OF_ROUNDS.checks)
