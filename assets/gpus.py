"""How many GPUs a step asks a cluster for, as tags that `dagster-k8s` and `dagster-ray` read."""

from collections.abc import Sequence
from typing import Any

from rft_pipeline.campaign import Campaign, EngineRuntime
from rft_pipeline.engines.load import RAY
from rft_pipeline.stages import STAGES, Node

GPU = "nvidia.com/gpu"
"""The resource of Kubernetes."""
_TRAIN = frozenset({"warm_start", "checkpoints"})
_JUDGE = frozenset({"judge_audit", "judge_scores", "eval_reports", "promotion"})
_SAMPLE = {"rollouts": "rollouts", "eval_reports": "evaluation", "promotion": "evaluation"}
"""Stage → the key in campaign.yaml with the runtime of its engine."""


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
    if not STAGES[stage].loads_models:
        return 0
    runtime = campaign.training.runtime
    if stage in _TRAIN and runtime.device != "cpu":
        return runtime.processes
    engines = []
    if stage in _SAMPLE and not campaign.policy.is_served:
        engines.append(getattr(campaign, _SAMPLE[stage]).runtime)
    if stage in _JUDGE:
        engines += [judge.runtime for judge in campaign.used_judges.values() if not judge.is_served]
    return int(any(map(_is_on_gpu, engines)))


def _is_on_gpu(runtime: EngineRuntime) -> bool:
    return runtime.engine != RAY and runtime.device != "cpu"
