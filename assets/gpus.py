"""How many GPUs a step asks a cluster for, as tags that `dagster-k8s` and `dagster-ray` read."""

from collections.abc import Sequence
from typing import Any

from rft_pipeline.campaign import Campaign, EngineRuntime
from rft_pipeline.engines.load import RAY
from rft_pipeline.stages import STAGES, Node

GPU = "nvidia.com/gpu"
"""The resource of Kubernetes."""


def gpu_tags(campaign: Campaign, together: Sequence[Node]) -> dict[str, Any]:
    """The tags of a step that makes these nodes; none where it needs no GPU."""
    count = max(_gpus(campaign, here.stage) for here in together)
    if not count:
        return {}
    return {
        "dagster-k8s/config": {"container_config": {"resources": {"limits": {GPU: str(count)}}}},
        "dagster-ray/config": {"num_gpus": count},
    }


def _gpus(campaign: Campaign, stage: str) -> int:
    """One, and for training one for each process; none for what runs on a CPU, behind a server, or in Ray's workers,
    which reserve their own."""
    loads, training = STAGES[stage].loads, campaign.training.runtime
    if "training" in loads and training.device != "cpu":
        return training.processes
    sampling = {"rollouts": campaign.rollouts.runtime, "evaluation": campaign.evaluation.runtime}
    engines = [runtime for name, runtime in sampling.items() if name in loads and not campaign.policy.is_served]
    if "judges" in loads:
        engines += [judge.runtime for judge in campaign.used_judges.values() if not judge.is_served]
    return int(any(map(_is_on_gpu, engines)))


def _is_on_gpu(runtime: EngineRuntime) -> bool:
    return runtime.engine != RAY and runtime.device != "cpu"
