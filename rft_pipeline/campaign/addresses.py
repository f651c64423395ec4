"""The addresses of the rollouts and judgements of a round, known before any of them is made.

Axes: P prompts, G rollouts a prompt.
Identical completions of one prompt are one subject. It is judged once per criterion and judge, across all rounds and
campaigns.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from rft_pipeline.campaign import Campaign, Sampling, SystemIn, Thinking
from rft_pipeline.campaign.rubric import ITEMS, Criterion
from rft_pipeline.campaign.subjects import Subjects, judged_views
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.judges import DEFAULT_JUDGE, PROTOCOLS, ModelJudge, question_in
from rft_pipeline.judges.checklist import sums_items
from rft_pipeline.rules import Rollout
from rft_pipeline.store.rows import judgement_id, rollout_id

BY_RULE = "rule"
"""The judge id of a criterion that a rule scores."""
POLICY_SYSTEM = "policy.system"
"""What the system turn of a prompt's messages says in `from` if it is the campaign's, filled with columns of the
prompt's row."""
REPLY = ("messages", "completion", "finish_reason", "fields")
"""The columns of a reply that its judges may see."""


def choose_prompts(prompts: pl.DataFrame, count: int, seed: int, round_: int | str) -> pl.DataFrame:
    """The prompts of a round: those with the `count` smallest seeded hashes.

    Adding or removing a prompt changes the choice by at most one prompt.
    """
    return in_seeded_order(prompts, seed, "round prompts", round_).head(count)


def in_seeded_order(prompts: pl.DataFrame, seed: int, *name: str | int) -> pl.DataFrame:
    """The prompts in the order of their seeded hashes."""
    ranks = [seed_of(seed, *name, prompt_id) for prompt_id in prompts["prompt_id"]]
    ranked = prompts.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64))
    return ranked.sort("rank", "prompt_id").drop("rank")


def kl_draw(campaign: Campaign, prompts: pl.DataFrame) -> tuple[pl.DataFrame, int, Sampling]:
    """The sample for a round's KL to base: the held-out prompts, the number of replies to each, and their sampling.

    These are the evaluation's own replies if it samples at temperature 1 without truncation. Otherwise it is one extra
    reply to each of `alarms.kl_prompts` prompts. There are no prompts if the KL is not estimated.
    """
    how, alarms = campaign.evaluation, campaign.alarms
    if alarms is None or alarms.kl_prompts == 0 or campaign.policy.is_served:
        return prompts.clear(), 0, how.kl_sampling
    if how.sampling == how.kl_sampling:
        return prompts, how.samples_per_prompt, how.kl_sampling
    return in_seeded_order(prompts, campaign.seed, "KL prompts").head(alarms.kl_prompts), 1, how.kl_sampling


def kl_sampling_of(settings: Mapping[str, Any]) -> str:
    """The fingerprint of the KL sampling, from the settings of an eval report."""
    drawn = Sampling(**{name: value for name, value in settings["sampling"].items() if name.startswith("max_")})
    return sampling_of({**settings, "sampling": drawn.identity})


def sampling_fingerprint(
    sampling: Sampling,
    system: str | None,
    seed: int,
    system_in: SystemIn = "own_turn",
    thinking: Thinking = "auto",
) -> str:
    """What determines a completion, together with policy, prompt and index."""
    settings = {"system": system, "system_in": system_in, "thinking": thinking}
    return sampling_of({"sampling": sampling.identity, **settings, "seed": seed})


def sampling_of(settings: Mapping[str, Any]) -> str:
    """The same, from the settings of a record that holds rollouts."""
    return fingerprint({name: settings[name] for name in ("sampling", "system", "system_in", "thinking", "seed")})


def rollout_addresses(prompts: pl.DataFrame, policy: str, sampling: str, group_size: int) -> pl.DataFrame:
    """P·G rows ordered by (prompt, sample_index): rollout_id, prompt_id, sample_index."""
    return pl.DataFrame(
        [
            {
                "rollout_id": rollout_id(policy, prompt_id, sampling, index),
                "prompt_id": prompt_id,
                "sample_index": index,
            }
            for prompt_id in prompts["prompt_id"]
            for index in range(group_size)
        ],
        schema={"rollout_id": pl.String, "prompt_id": pl.String, "sample_index": pl.Int64},
    )


def with_prompts(rollouts: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Rollouts with the messages and fields of their prompts, in the same order."""
    return rollouts.join(
        prompts.select("prompt_id", "messages", "fields"), on="prompt_id", how="left", maintain_order="left"
    )


def judgement_addresses(
    rollout_ids: Sequence[str], rollouts: Subjects, criterion: Criterion, judges: Mapping[str, str]
) -> pl.DataFrame:
    """One row per rollout, or per rollout and item of a checklist: rollout_id, subject, judgement_id, and `place`, its
    index in `judged_views`.

    `judges` holds the content hash of each judge's model, with the names of `sources.source_hashes`.
    """
    judge, name = judge_of(criterion, judges), criterion.question
    subjects = rollouts.of(criterion.payload)
    return pl.DataFrame(
        {
            "rollout_id": [rollout_ids[place] for place, _ in judged_views(rollouts.views, criterion.payload)],
            "subject": subjects,
            "judgement_id": [judgement_id(name, judge, subject) for subject in subjects],
            "place": range(len(subjects)),
        },
        schema={"rollout_id": pl.String, "subject": pl.String, "judgement_id": pl.String, "place": pl.Int64},
    )


def judge_of(criterion: Criterion, judges: Mapping[str, str]) -> str:
    """The judge id of a criterion: the content hash of its model, one hash of all members of a panel, or `rule`."""
    if not criterion.judged:
        return BY_RULE
    if isinstance(criterion.judge, ModelJudge):
        return judges.get(judge_source(criterion.judge.by), "")
    return fingerprint([judge_of(member, judges) for member in criterion.members]) if criterion.members else BY_RULE


def retest_judge_id(judge: str) -> str:
    """The judge id for a second answer to the same question: it is stored separately from the first one."""
    return fingerprint([judge, "again"])


def judges_for_alarms(campaign: Campaign, judges: Mapping[str, str], round_: int, checkpoint: str) -> dict[str, str]:
    """The judges' hashes. A served judge gets a new hash each time a round is trained.

    A served model may change without notice, so alarms score the anchors again. `checkpoint` is the content hash of the
    round's checkpoint: a retrained round scores them again too.
    """
    served = {judge_source(name) for name in campaign.served_judges}
    return {
        name: fingerprint([content, round_, checkpoint]) if name in served else content
        for name, content in judges.items()
    }


def judge_source(name: str) -> str:
    """The key of a judge's model in the source hashes."""
    return DEFAULT_JUDGE if name == DEFAULT_JUDGE else f"judge.{name}"


def judge_models(campaign: Campaign) -> dict[str, str]:
    """The models of the judges in use, by their keys in the source hashes."""
    return {judge_source(name): judge.model for name, judge in campaign.used_judges.items()}


def with_answer_settings(campaign: Campaign, judges: Mapping[str, str]) -> dict[str, str]:
    """The hash of each judge: of its model and of the settings that change its answers."""
    settings = {judge_source(name): judge.changes_answers for name, judge in campaign.used_judges.items()}
    return {
        name: fingerprint([content, settings[name]]) if settings.get(name) else content
        for name, content in judges.items()
    }


def judge_inputs(criteria: Sequence[Criterion], judges: Mapping[str, str]) -> dict[str, str]:
    """The judges as records store them: `judge` for the default judge, `judge.<criterion>` for any other.

    It does not contain the names of judges, so renaming a judge recomputes nothing.
    """
    found: dict[str, str] = {}
    for criterion in criteria:
        if isinstance(criterion.judge, ModelJudge) and criterion.judge.by == DEFAULT_JUDGE:
            found[DEFAULT_JUDGE] = judge_of(criterion, judges)
        elif isinstance(criterion.judge, ModelJudge) or criterion.members:
            found[f"judge.{criterion.name}"] = judge_of(criterion, judges)
            found |= judge_inputs(criterion.members, judges)
    return found


class JudgementKey(NamedTuple):
    """The criterion and judge columns of the judgements table."""

    criterion: str
    judge: str


class JudgedCriterion(NamedTuple):
    """A criterion with its judge, as a record stores them."""

    name: str
    payload: Mapping[str, Any]
    judge: str

    @property
    def key(self) -> JudgementKey:
        return JudgementKey(fingerprint(question_in(self.payload)), self.judge)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.payload)


def judged_criteria(criteria: Sequence[Criterion], judges: Mapping[str, str]) -> list[JudgedCriterion]:
    """These criteria with their judges; the members of a panel follow the panel, and the items of a checklist the
    checklist."""
    every = [each for criterion in criteria for each in (criterion, *criterion.members)]
    return [JudgedCriterion(each.name, each.payload, judge_of(each, judges)) for each in every]


def judged_criteria_in(payload: Mapping[str, Any]) -> list[JudgedCriterion]:
    """The same for the criteria of a record."""
    inputs = payload["inputs"]
    found = []
    for name, criterion in payload["settings"]["criteria"].items():
        members = criterion["judge"].get("members", ())
        for number, single in enumerate((criterion, *members)):
            member = ITEMS if sums_items(criterion) else number
            full = f"{name}.{member}" if number else name
            asks_model = PROTOCOLS[single["judge"]["protocol"]].ENGINE is not None
            judge = inputs.get(f"judge.{full}", inputs.get(DEFAULT_JUDGE, "") if asks_model else BY_RULE)
            found.append(JudgedCriterion(full, single, judge))
    return found


def as_rollout(row: dict[str, Any]) -> Rollout:
    """What a judge sees of a row with the columns completion, finish_reason, messages and fields (JSON)."""
    return Rollout(
        completion=row["completion"],
        finish_reason=row["finish_reason"],
        fields=json.loads(row["fields"]),
        **_prompt_shown(row["messages"]),
    )


@functools.lru_cache(maxsize=64)
def _prompt_shown(messages: str) -> dict[str, str]:
    """What a judge sees of a prompt. The rollouts of a prompt mostly follow one another."""
    return {
        "prompt": transcript(messages),
        "system": own_system(messages),
        "filled_system": filled_system(messages),
        "last_turn": last_turn(messages),
    }


def transcript(messages: str) -> str:
    """The prompt as a judge reads it: the user's text, or all turns in order if there are several."""
    turns = [turn for turn in json.loads(messages) if turn["role"] != "system"]
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def last_turn(messages: str) -> str:
    """The text of the user's last turn; empty if it is the only turn."""
    turns = turns_of(messages)
    return turns[-1] if len(turns) > 1 else ""


def own_system(messages: str) -> str:
    """The prompt's own system turns as one text; empty if it has none."""
    return "\n\n".join(systems(messages, None))


def filled_system(messages: str) -> str:
    """`policy.system` as it was filled with the prompt's columns; empty if it has no slots."""
    return "\n\n".join(systems(messages, POLICY_SYSTEM))


def systems(messages: str, *origins: str | None) -> list[str]:
    """The texts of a prompt's system turns: of all, or of those from one of `origins` (None: from the prompt)."""
    turns = [turn for turn in json.loads(messages) if turn["role"] == "system"]
    return [turn["content"] for turn in turns if not origins or turn.get("from") in origins]


def turns_of(messages: str) -> list[str]:
    """The texts of the prompt's turns, without its own system turns."""
    return [str(turn["content"]) for turn in json.loads(messages) if turn["role"] != "system"]


def readable_prompt(messages: str) -> str:
    """The prompt as people read it, with `policy.system` as it was filled for it, and its own system turn, in front."""
    named = {POLICY_SYSTEM: filled_system(messages), "system": own_system(messages)}
    front = [f"{name}: {text}" for name, text in named.items() if text]
    return "\n\n".join([*front, transcript(messages)])
