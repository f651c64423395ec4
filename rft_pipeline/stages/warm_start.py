"""The stage `warm_start`: the policy after it imitated the references, before round 1."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import DataError
from rft_pipeline.labels.preferred import PREFERRED, preferred_replies
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.rules.values import text_of
from rft_pipeline.stages.base import WARM_START, MlflowRun, Node, Output, Sources, Stage, Upstream
from rft_pipeline.stages.checkpoints import make_checkpoint, steps_made
from rft_pipeline.stages.columns import columns_of
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.sampling import conversation
from rft_pipeline.store import Record
from rft_pipeline.trainers.method import steps_for


class WarmStart(Stage):
    """Imitate the references of train prompts, so that round 1 starts from a policy that knows the kind of reply."""

    name = WARM_START
    description = "The policy after it imitated the references of train prompts; round 1 starts from it."
    version = 3
    scope = "campaign"
    loads = frozenset({"training"})
    counted = "steps"

    def exists(self, campaign: Campaign) -> bool:
        return campaign.training.warm_start is not None

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {"prompts": "prompts", "policy": "policy"}

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        training = campaign.training
        assert training.warm_start is not None
        return {
            **training.of_warm_start.identity,
            "references": training.warm_start.references,
            "system": campaign.policy.system,
            "system_in": campaign.policy.system_in,
            "thinking": campaign.policy.thinking,
            "seed": campaign.seed,
        }

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        prompts, how = upstream["prompts"], campaign.training.warm_start
        found = {"prompts": prompts.parts["train"], "policy": upstream["policy"].content_hash}
        if imitates_preferred(campaign):
            return {**found, PREFERRED: sources.get(PREFERRED, "")}
        return {**found, **columns_of(prompts, "train", [] if how is None else [how.references])}

    def run(self, job: Job) -> Output:
        campaign, start = job.campaign, job.policy_folder("policy")
        found = references_of(job.frame("prompts"), campaign, job.home.store)
        if found.is_empty():
            raise DataError(no_references(campaign))
        imitated = _to_imitate(job, found)
        training = campaign.training.of_warm_start
        return make_checkpoint(job, start, start, imitated, {}, training, {"references": found.height})

    def count(self, counting: Counting) -> None:
        campaign, prompts = counting.campaign, counting.prompts("train")
        training = campaign.training.of_warm_start.from_folder(campaign.folder)
        expected = (
            training.batch_size if prompts is None else references_of(prompts, campaign, counting.home.store).height
        )
        steps = steps_for(expected, training)
        done = min(steps, steps_made(self, counting, training))
        counting.work.add("steps", steps - done, done)

    def track(self, record: Record, run: MlflowRun) -> None:
        run.checkpoint(record)


def imitates_preferred(campaign: Campaign) -> bool:
    """Whether the references are people's preferred replies."""
    warm_start = campaign.training.warm_start
    return warm_start is not None and warm_start.references == PREFERRED


def references_of(prompts: pl.DataFrame, campaign: Campaign, store: Path) -> pl.DataFrame:
    """The train prompts that have a reference, with the column `reference`."""
    assert campaign.training.warm_start is not None
    column = campaign.training.warm_start.references
    train = prompts.filter(split="train") if "split" in prompts.columns else prompts
    if imitates_preferred(campaign):
        preferred = preferred_replies(campaign.name, store)
        texts = [preferred.get(prompt) for prompt in train["prompt_id"]]
    else:
        texts = [text_of(json.loads(fields).get(column)) for fields in train["fields"]]
    return train.with_columns(pl.Series(REFERENCE, texts, dtype=pl.String)).drop_nulls(REFERENCE)


def no_references(campaign: Campaign) -> str:
    assert campaign.training.warm_start is not None
    if imitates_preferred(campaign):
        return (
            f"training.warm_start.references: preferred: people preferred no reply to a prompt of "
            f"{campaign.prompts.train.source}; ask them (rft labels export {campaign.name} --pairs 40 --train, which "
            "needs rollouts, so run the campaign without warm_start first), or name a column with references"
        )
    return (
        f"training.warm_start.references: no row of {campaign.prompts.train.source} has a text in the column "
        f"{campaign.training.warm_start.references!r}; add references, or remove training.warm_start"
    )


def _to_imitate(job: Job, found: pl.DataFrame) -> pl.DataFrame:
    """A batch with the references, as `sft` reads it."""
    from rft_pipeline.engines.chat_tokens import chat_tokens
    from rft_pipeline.engines.thoughts import switch
    from rft_pipeline.engines.weights import load_tokenizer

    policy, tokenizer = job.campaign.policy, load_tokenizer(job.policy_folder("policy"))
    tokens = [
        chat_tokens(tokenizer, conversation(each, policy.system, policy.system_in), thinking=switch(policy.thinking))
        for each in found["messages"]
    ]
    return pl.DataFrame(
        {
            "prompt_id": found["prompt_id"],
            "sample_index": [0] * found.height,
            "prompt_tokens": tokens,
            "fields": [json.dumps({REFERENCE: reference}) for reference in found[REFERENCE]],
        }
    )
