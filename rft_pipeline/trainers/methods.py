"""The training methods."""

from rft_pipeline.trainers.dpo import DpoMethod
from rft_pipeline.trainers.grpo import GrpoMethod
from rft_pipeline.trainers.method import Method
from rft_pipeline.trainers.raft import RaftMethod
from rft_pipeline.trainers.sft import SftMethod

METHODS: dict[str, Method] = {method.name: method for method in (GrpoMethod(), RaftMethod(), DpoMethod(), SftMethod())}
