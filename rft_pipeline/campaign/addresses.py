"""Which rollouts and judgements a round needs: known before any of them is made.

Axes: P prompts, G rollouts a prompt.
Identical completions of one prompt are one subject, judged once per criterion and judge, whatever round or campaign
they come from.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from rft_pipeline.campaign import Campaign, Sampling, SystemIn
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.judges import DEFAULT_JUDGE, PROTOCOLS, ModelJudge
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.store.tables import judgement_id, rollout_id

BY_RULE = "rule"
"""The judge of a criterion that no model decides."""
REPLY = ("messages", "completion", "finish_reason", "fields")
"""The columns of a reply that its judges may see."""


def choose_prompts(prompts: pl.DataFrame, count: int, seed: int, round_: int) -> pl.DataFrame:
    """The prompts of a round: the `count` smallest of a seeded hash of each.

    A prompt added or removed changes the choice by one prompt, never reshuffles it.
    """
    ranks = [seed_of(seed, "round prompts", round_, prompt_id) for prompt_id in prompts["prompt_id"]]
    ranked = prompts.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64))
    return ranked.sort("rank", "prompt_id").head(count).drop("rank")


def kl_draw(campaign: Campaign, prompts: pl.DataFrame) -> tuple[pl.DataFrame, int, Sampling]:
    """What a round's KL to base is estimated on: the held-out prompts, the replies to each, and how they are drawn.

    The evaluation's own replies where they are drawn at temperature 1 without truncation, else one more reply to each
    of `alarms.kl_prompts` prompts. No prompts where the KL is not watched.
    """
    how, alarms = campaign.evaluation, campaign.alarms
    if alarms is None or alarms.kl_prompts == 0 or campaign.policy.is_served:
        return prompts.clear(), 0, how.kl_sampling
    if how.sampling == how.kl_sampling:
        return prompts, how.samples_per_prompt, how.kl_sampling
    ranks = [seed_of(campaign.seed, "KL prompts", prompt_id) for prompt_id in prompts["prompt_id"]]
    ranked = prompts.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64)).sort("rank", "prompt_id")
    return ranked.head(alarms.kl_prompts).drop("rank"), 1, how.kl_sampling


def kl_sampling_of(settings: Mapping[str, Any]) -> str:
    """The fingerprint of that sampling, from the settings of an eval report."""
    drawn = Sampling(max_new_tokens=settings["sampling"]["max_new_tokens"])
    return sampling_of({**settings, "sampling": drawn.identity})


def sampling_fingerprint(sampling: Sampling, system: str | None, seed: int, system_in: SystemIn = "own_turn") -> str:
    """What fixes a completion beside policy, prompt and index."""
    return sampling_of({"sampling": sampling.identity, "system": system, "system_in": system_in, "seed": seed})


def sampling_of(settings: Mapping[str, Any]) -> str:
    """The same, from the settings of a record that holds rollouts."""
    return fingerprint({name: settings[name] for name in ("sampling", "system", "system_in", "seed")})


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
    """Rollouts beside their prompts' messages and fields, order kept."""
    return rollouts.join(
        prompts.select("prompt_id", "messages", "fields"), on="prompt_id", how="left", maintain_order="left"
    )


def judgement_addresses(
    rollout_ids: Sequence[str], views: Sequence[Rollout], criterion: Criterion, judges: Mapping[str, str]
) -> pl.DataFrame:
    """One row a rollout: rollout_id, subject, judgement_id, and its place in `views`.

    `judges` holds the content hash of each judge's model, as `sources.source_hashes` names them.
    """
    judge, name = judge_of(criterion, judges), criterion.fingerprint
    subjects = subjects_of(views, criterion.payload)
    return pl.DataFrame(
        {
            "rollout_id": rollout_ids,
            "subject": subjects,
            "judgement_id": [judgement_id(name, judge, subject) for subject in subjects],
            "place": range(len(views)),
        },
        schema={"rollout_id": pl.String, "subject": pl.String, "judgement_id": pl.String, "place": pl.Int64},
    )


def judge_of(criterion: Criterion, judges: Mapping[str, str]) -> str:
    """Who decides a criterion: the content hash of the judge's model, of a panel one of all its judges, or `rule`."""
    if not criterion.judged:
        return BY_RULE
    if criterion.members:
        return fingerprint([judge_of(member, judges) for member in criterion.members])
    return judges.get(judge_source(criterion.judge.by), "") if isinstance(criterion.judge, ModelJudge) else BY_RULE


def retest_judge_id(judge: str) -> str:
    """Who decides when a judge is asked the same a second time: its answers stand beside the first ones."""
    return fingerprint([judge, "again"])


def judges_for_alarms(campaign: Campaign, judges: Mapping[str, str], round_: int, checkpoint: str) -> dict[str, str]:
    """The judges' hashes, other ones for those behind a server each time that a round is trained: nothing tells from
    outside whether one is what it was, and so alarms ask it about the anchors again.

    `checkpoint` is the content hash of the round's checkpoint: other rounds of the same number ask again as well.
    """
    served = {judge_source(name) for name in campaign.served_judges}
    return {
        name: fingerprint([content, round_, checkpoint]) if name in served else content
        for name, content in judges.items()
    }


def judge_source(name: str) -> str:
    """The name of a judge's model among the source hashes."""
    return DEFAULT_JUDGE if name == DEFAULT_JUDGE else f"judge.{name}"


def judge_models(campaign: Campaign) -> dict[str, str]:
    """The models of the judges that the rubric asks, by the names under which sources are hashed."""
    return {judge_source(name): judge.model for name, judge in campaign.used_judges.items()}


def with_answer_settings(campaign: Campaign, judges: Mapping[str, str]) -> dict[str, str]:
    """What stands for each judge's model, together with the settings that change its answers."""
    settings = {judge_source(name): judge.changes_answers for name, judge in campaign.used_judges.items()}
    return {
        name: fingerprint([content, settings[name]]) if settings.get(name) else content
        for name, content in judges.items()
    }


def judge_inputs(criteria: Sequence[Criterion], judges: Mapping[str, str]) -> dict[str, str]:
    """Who judges, as records hold it: `judge` for the campaign's judge, `judge.<criterion>` where another is asked.

    Names of judges stand nowhere in it: a judge that is only renamed makes nothing again.
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
    """A criterion and who decides it, as the judgements table spells them."""

    criterion: str
    judge: str


class JudgedCriterion(NamedTuple):
    """A criterion as a record holds it: what was asked, and who answered."""

    name: str
    payload: Mapping[str, Any]
    judge: str

    @property
    def key(self) -> JudgementKey:
        return JudgementKey(fingerprint(self.payload), self.judge)


def judged_criteria(criteria: Sequence[Criterion], judges: Mapping[str, str]) -> list[JudgedCriterion]:
    """What these criteria ask; a panel's members after the panel."""
    every = [each for criterion in criteria for each in (criterion, *criterion.members)]
    return [JudgedCriterion(each.name, each.payload, judge_of(each, judges)) for each in every]


def judged_criteria_in(payload: Mapping[str, Any]) -> list[JudgedCriterion]:
    """What a record's judgements were asked, from the record's payload; a panel's members after the panel."""
    inputs = payload["inputs"]
    found = []
    for name, criterion in payload["settings"]["criteria"].items():
        members = criterion["judge"].get("members", ())
        for place, asked in enumerate((criterion, *members)):
            full = f"{name}.{place}" if place else name
            asks_model = PROTOCOLS[asked["judge"]["protocol"]].ENGINE is not None
            judge = inputs.get(f"judge.{full}", inputs.get(DEFAULT_JUDGE, "") if asks_model else BY_RULE)
            found.append(JudgedCriterion(full, asked, judge))
    return found


def as_rollout(row: dict[str, Any]) -> Rollout:
    """A judge's view of a row with the columns completion, finish_reason, messages and fields (JSON)."""
    return Rollout(
        prompt=transcript(row["messages"]),
        completion=row["completion"],
        finish_reason=row["finish_reason"],
        fields=json.loads(row["fields"]),
        system=own_system(row["messages"]),
    )


def transcript(messages: str) -> str:
    """What was asked, as a judge reads it: the user's text, or the turns in order when there are several."""
    turns = [turn for turn in json.loads(messages) if turn["role"] != "system"]
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def own_system(messages: str) -> str:
    """The system turns of a prompt itself, as one text; empty without one."""
    return "\n\n".join(turn["content"] for turn in json.loads(messages) if turn["role"] == "system")


def readable_prompt(messages: str) -> str:
    """A prompt as people read it: what was asked, after the prompt's own system turn where it has one."""
    system, asked = own_system(messages), transcript(messages)
    return f"system: {system}\n\n{asked}" if system else asked


def subjects_of(views: Sequence[Rollout], payload: Mapping[str, Any]) -> list[str]:
    """What a criterion's judge is shown of each rollout.

    Every judge sees the texts and the prompt's own system turn. A model also sees a good answer if the criterion says
    so. A protocol that sees all also sees how the reply ended and the prompt's fields. A protocol that compares also
    sees all different replies to the same prompt among `views`.
    """
    judges = [member["judge"] for member in payload["judge"].get("members", ())] or [payload["judge"]]
    protocols = [PROTOCOLS[judge["protocol"]] for judge in judges]
    parts: list[list[Any]] = [
        [view.prompt, view.completion, *([{"system": view.system}] if view.system else [])] for view in views
    ]
    if any(protocol.SEES_ALL for protocol in protocols):
        for part, view in zip(parts, views, strict=True):
            part += [view.finish_reason, dict(view.fields)]
    elif any(judge.get("reference") for judge in judges):
        for part, view in zip(parts, views, strict=True):
            part.append({REFERENCE: view.fields.get(REFERENCE)})
    if any(protocol.COMPARES_GROUP for protocol in protocols):
        replies: dict[tuple[str, str], set[str]] = defaultdict(set)
        for view in views:
            replies[view.group_key].add(view.completion)
        groups = {key: fingerprint(sorted(group)) for key, group in replies.items()}
        for part, view in zip(parts, views, strict=True):
            part.append({"group": groups[view.group_key]})
    return [fingerprint(part) for part in parts]
