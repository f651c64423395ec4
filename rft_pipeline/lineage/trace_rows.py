"""The trace of a rollout, and of a prompt over all rounds."""

from dataclasses import dataclass, replace

import polars as pl

from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.lineage.index import Index, campaign_of, round_of
from rft_pipeline.lineage.judgements import with_items
from rft_pipeline.lineage.rows import RolloutFacts, find_rollouts, mean, rollout_facts


@dataclass(frozen=True)
class PromptName:
    """A prompt in a record of prompts."""

    record: str
    is_current: bool
    id: str
    """Its id in the user's file."""
    split: str


@dataclass(frozen=True)
class PromptFacts:
    """A prompt and the records that contain it."""

    prompt_id: str
    text: str | None
    """Null if no record of prompts contains it any more."""
    messages: str | None
    """JSON."""
    fields: str | None
    """JSON: the other columns of its row."""
    names: tuple[PromptName, ...]


@dataclass(frozen=True)
class RolloutTrace:
    """A rollout: its prompt, its policy, its judgements, and the checkpoints trained on it."""

    kind: str
    prompt: PromptFacts
    rollout: RolloutFacts
    trained: tuple[str, ...]
    """The checkpoints trained on it."""


@dataclass(frozen=True)
class PromptRound:
    """A prompt's rollouts in one reward batch, or in one round of an eval report."""

    campaign: str
    round: int
    split: str
    """`train` or `eval`."""
    record: str
    is_current: bool
    rollouts: int
    mean_reward: float | None
    checkpoints: tuple[str, ...]
    """Checkpoints trained on the batch; empty for a report."""


@dataclass(frozen=True)
class PromptTrace:
    """A prompt over rounds."""

    kind: str
    prompt: PromptFacts
    rounds: tuple[PromptRound, ...]
    rollouts: tuple[RolloutFacts, ...]


def trace_rollout(index: Index, rows: pl.DataFrame) -> RolloutTrace:
    """The trace of the single row of `find_rollouts`."""
    (facts,) = rollout_facts(index, rows)
    facts = replace(facts, judgements=tuple(with_items(index, facts.rollout_id, each) for each in facts.judgements))
    return RolloutTrace("rollout", prompt_facts(index, facts.prompt_id), facts, facts.trained)


def trace_prompt(index: Index, prompt_id: str, campaign: str | None) -> PromptTrace:
    rows = find_rollouts(index, pl.col("prompt_id") == prompt_id)
    found = rollout_facts(index, rows, campaign)
    if campaign is not None:
        found = [each for each in found if each.records or each.evaluations]
    found.sort(key=lambda each: (_first_round(index, each), each.policy, each.sample_index))
    return PromptTrace("prompt", prompt_facts(index, prompt_id), tuple(_rounds(index, found)), tuple(found))


def _first_round(index: Index, rollout: RolloutFacts) -> int:
    trained = [round_of(index.by_address[address]) for address in rollout.records]
    return min([*trained, *(each.round for each in rollout.evaluations)], default=0)


def prompt_facts(index: Index, prompt_id: str) -> PromptFacts:
    names: list[PromptName] = []
    row: dict[str, str] = {}
    for record in index.of_stage("prompts"):
        path = record.path("prompts.parquet")
        for row in pl.scan_parquet(path, glob=False).filter(prompt_id=prompt_id).collect().iter_rows(named=True):
            names.append(PromptName(record.address, record.address in index.current_addresses, row["id"], row["split"]))
    text = readable_prompt(row["messages"]) if row else None
    return PromptFacts(prompt_id, text, row.get("messages"), row.get("fields"), tuple(names))


def _rounds(index: Index, rollouts: list[RolloutFacts]) -> list[PromptRound]:
    """One entry per reward batch and per round of a report, by campaign, split and round."""
    in_batch = [(batch, each.batches) for each in rollouts for batch in each.batches]
    found = []
    for address in dict.fromkeys(batch.address for batch, _ in in_batch):
        own = [batch for batch, _ in in_batch if batch.address == address]
        found.append(_round(index, address, None, [each.reward for each in own], own[0].checkpoints))
    reports = [each for rollout in rollouts for each in rollout.evaluations]
    for address, round_ in dict.fromkeys((each.address, each.round) for each in reports):
        rewards = [each.reward for each in reports if (each.address, each.round) == (address, round_)]
        found.append(_round(index, address, round_, rewards, ()))
    return sorted(found, key=lambda each: (each.campaign, each.split, each.round, not each.is_current, each.record))


def _round(
    index: Index, address: str, evaluated: int | None, rewards: list[float | None], checkpoints: tuple[str, ...]
) -> PromptRound:
    record = index.by_address[address]
    return PromptRound(
        campaign=campaign_of(record),
        round=round_of(record) if evaluated is None else evaluated,
        split="train" if evaluated is None else "eval",
        record=address,
        is_current=address in index.current_addresses,
        rollouts=len(rewards),
        mean_reward=mean(rewards),
        checkpoints=checkpoints,
    )
