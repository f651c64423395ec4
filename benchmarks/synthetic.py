"""A store of any size without a model: one campaign with a finished and a begun round, among the rounds of others.

The campaign `scale` and all its addresses are real, so `rft plan` and the stages find their rows; tokens, texts and
scores are random. The other campaigns have the records of rollouts and of judge scores that gc and trace read, with
real subjects, and random keys of their rows. Merged files hold everything but the last commits, which are as small as a
working stage makes them.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from safetensors.numpy import save_file

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.campaign.addresses import (
    REPLY,
    as_rollout,
    choose_prompts,
    judge_of,
    judgement_addresses,
    rollout_addresses,
    sampling_fingerprint,
)
from rft_pipeline.campaign.subjects import Subjects, subjects_of
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.progress import Progress
from rft_pipeline.stages import STAGES
from rft_pipeline.stages.base import Output, Payload, Upstream
from rft_pipeline.stages.graph import node, nodes, payload
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table

NAME = "scale"
PROMPTS, GROUP = 1250, 8
ROUND = PROMPTS * GROUP
"""Rollouts of a round."""
OTHERS = 5
"""Campaigns that share the other rounds; each has its own criteria, so the rows of a criterion grow with the store."""
GARBAGE = 10
"""One of so many of the other rounds has no records, so gc removes its rows."""
COMMIT, COMMITS = 64, 64
"""Rows of a stage's commit, and commits of the round that was begun."""
TEXT = (
    "sorry order number please chair lamp late we you the a is help today send parcel desk kind thank could what your "
    "about it will of to and not can have"
)

rng = np.random.default_rng(0)


def make_store(root: Path, rollouts: int) -> dict[str, Any]:
    """Make a home below `root` whose store holds `rollouts` rollouts with six judgements each, and what was begun."""
    began = time.perf_counter()
    home = Home(root / "home", root / "data")
    campaign = write_campaign(home.data / NAME)
    others = [write_campaign(root / "others" / f"other_{number}", number) for number in range(1, OTHERS + 1)]
    rows = random_rollouts(ROUND)
    made = finish_round(home, campaign, rows)
    for number in range(rollouts // ROUND - 1):
        append_round(home, others[number % OTHERS], rows, number, made)
    tables = rollouts_table(home.store), judgements_table(home.store)
    for table in tables:
        table.tidy()
    begin_round(home, campaign, made["round_1/checkpoints"], rows)
    counts = [table.rows().select(pl.len()).collect().item() for table in tables]
    return {"rollouts": counts[0], "judgements": counts[1], "seconds": time.perf_counter() - began}


def write_campaign(folder: Path, number: int = 0) -> Campaign:
    """Two rounds of `PROMPTS` prompts × `GROUP`, sampled at once, three rules and three judged criteria; the model is
    two numbers. Every `number` has its own criteria."""
    (folder / "model").mkdir(parents=True)
    save_file({"weight": np.zeros(2, dtype=np.float32)}, folder / "model" / "model.safetensors")
    for split, count in (("train", 2 * PROMPTS), ("eval", 100)):
        lines = [json.dumps({"id": f"{split}-{n}", "prompt": f"Order {n} ({split}) is late."}) for n in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    contrast = {"protocol": "contrast", "negative": f"You are rude in {number} ways."}
    judges: dict[str, dict[str, Any]] = {
        "polite": {**contrast, "positive": "You are polite."},
        "warm": {**contrast, "positive": "You are warm."},
        "brief": {**contrast, "positive": "You are brief."},
        "long_enough": {"protocol": "rule", "rule": {"name": "length", "min_words": 6 + number}},
        "has_an_e": {"protocol": "rule", "rule": {"name": "regex", "pattern": f"e{{{number}}}"}},
        "has_an_a": {"protocol": "rule", "rule": {"name": "regex", "pattern": f"a{{{number}}}"}},
    }
    rubric = {"criteria": [{"name": name, "judge": judge} for name, judge in judges.items()]}
    settings = {
        "name": folder.name,
        "rounds": 2,
        "policy": {"model": "model"},
        "judge": {"model": "model"},
        "prompts": {"train": "train.jsonl", "eval": "eval.jsonl"},
        "rollouts": {"prompts_per_round": PROMPTS, "group_size": GROUP},
        "training": {"steps_per_generation": None},
    }
    for name, content in (("campaign", settings), ("rubric", rubric)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_campaign(folder)


def finish_round(home: Home, campaign: Campaign, rows: pl.DataFrame) -> dict[str, Record]:
    """Make the records up to the first report as the pipeline would, all rows being there; by node."""
    records = RecordStore(home.store)
    sources = source_hashes(campaign, home, fetch=False)
    made: dict[str, Record] = {}
    for here in nodes(campaign):
        if here.round > 1:
            break
        upstream = {role: made[name] for role, name in here.upstream.items()}
        made_from = payload(campaign, here, upstream, sources)
        with records.workdir(here.key) as workdir:
            engines = JudgeEngines(campaign, home.models, sources)  # none is loaded: all rows are there
            kept, progress = records.kept(here.key, fingerprint(made_from)), Progress(here.name)
            job = Job(
                campaign, here, upstream, sources, made_from, home, workdir, kept, progress, lambda *_: None, engines
            )
            if here.stage == "rollouts":
                addressed = addresses(campaign, upstream, here.round)
                rollouts_table(home.store).append(pl.concat([rows, addressed], how="horizontal"))
            if here.stage == "judge_scores":
                judgements_table(home.store).append(judgements_of(job))
            if here.stage == "eval_reports":
                empty = {name: pl.String() for name in ("rollout_id", *REPLY)}
                pl.DataFrame(schema=empty).write_parquet(workdir / "eval_reports.parquet")
            trains = here.stage in ("checkpoints", "eval_reports")
            output = Output(fingerprint(here.key)) if trains else STAGES[here.stage].run(job)
            made[here.name] = commit(records, here.key, made_from, upstream, output, workdir)
    return made


def begin_round(home: Home, campaign: Campaign, checkpoint: Record, rows: pl.DataFrame) -> None:
    """What a killed run leaves of the second round, and of another campaign's judge: small commits."""
    prompts = RecordStore(home.store).current(f"{NAME}/prompts")
    assert prompts is not None
    addressed = addresses(campaign, {"prompts": prompts, "policy": checkpoint}, 2)
    begun = pl.concat([rows, addressed], how="horizontal")
    judged = random_judgements([fingerprint("a criterion")], COMMIT * COMMITS)
    for start in range(0, COMMIT * COMMITS, COMMIT):
        rollouts_table(home.store).append(begun.slice(start, COMMIT))
        judgements_table(home.store).append(judged.slice(start, COMMIT))


def append_round(home: Home, campaign: Campaign, rows: pl.DataFrame, number: int, ours: Mapping[str, Record]) -> None:
    """The rows of a round of another campaign, two commits, and its records of rollouts and of judge scores, which a
    part of the rounds lacks. Its policy has random weights."""
    records = RecordStore(home.store)
    sources = source_hashes(campaign, home, fetch=False)
    policy = replace(ours["policy"], content_hash=hexes(1)[0])
    how = {
        "policy": policy.content_hash,
        "sampling": sampling_fingerprint(campaign.rollouts.sampling, None, campaign.seed),
    }
    turns = [json.dumps([{"role": "user", "content": f"Order {n} of round {number}"}]) for n in range(PROMPTS)]
    replies = rows.with_columns(
        rollout_id=pl.Series(hexes(ROUND)),
        prompt_id=pl.Series(np.repeat(hexes(PROMPTS), GROUP)),
        **{name: pl.lit(value) for name, value in how.items()},
        sample_index=pl.int_range(pl.len()) % GROUP,
        messages=pl.Series(np.repeat(turns, GROUP)),
        fields=pl.lit("{}"),
    )
    views = [as_rollout(row) for row in replies.select(REPLY).iter_rows(named=True)]
    seen = {each.judged: each.payload for each in campaign.rubric.criteria}  # judges see the same, and so do rules
    subjects = {judged: pl.Series(subjects_of(views, payload)) for judged, payload in seen.items()}
    judged = [
        random_judgements([each.question], ROUND).with_columns(
            judge=pl.lit(judge_of(each, sources)), subject=subjects[each.judged]
        )
        for each in campaign.rubric.criteria
    ]
    rollouts_table(home.store).append(replies)
    judgements_table(home.store).append(pl.concat(judged))
    if number % GARBAGE == 0:
        return
    made = {**ours, "policy": policy}
    for stage in ("rollouts", "judge_scores"):
        here = node(campaign, f"round_1/{stage}")
        upstream = {role: made[name] for role, name in here.upstream.items()}
        made_from = payload(campaign, here, upstream, sources)
        key = f"{campaign.name}/round_{number}/{stage}"
        with records.workdir(key) as workdir:
            if stage == "rollouts":
                replies.select("rollout_id", *REPLY).write_parquet(workdir / "rollouts.parquet")
            made[here.name] = commit(records, key, made_from, upstream, Output(fingerprint(key)), workdir)


def commit(
    records: RecordStore, key: str, made_from: Payload, upstream: Upstream, output: Output, workdir: Path
) -> Record:
    record = Record(
        key=key,
        fingerprint=fingerprint(made_from),
        payload=made_from,
        content_hash=output.content_hash,
        upstream={role: above.address for role, above in upstream.items()},
        parts=output.parts,
        rows=output.rows,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return records.commit(record, workdir)


def addresses(campaign: Campaign, upstream: Mapping[str, Record], round_: int) -> pl.DataFrame:
    """The address columns of a round's rollouts."""
    prompts = pl.read_parquet(upstream["prompts"].path("prompts.parquet")).filter(split="train")
    chosen = choose_prompts(prompts, PROMPTS, campaign.seed, round_)
    sampling = sampling_fingerprint(campaign.rollouts.sampling, campaign.policy.system, campaign.seed)
    policy = upstream["policy"].content_hash
    found = rollout_addresses(chosen, policy, sampling, GROUP)
    return found.with_columns(policy=pl.lit(policy), sampling=pl.lit(sampling))


def judgements_of(job: Job) -> pl.DataFrame:
    """The judgements that a round's rollouts need, at their addresses."""
    rollouts = job.frame("rollouts")
    seen = Subjects([as_rollout(row) for row in rollouts.iter_rows(named=True)])
    found = []
    for criterion in job.campaign.rubric.criteria:
        addressed = judgement_addresses(rollouts["rollout_id"].to_list(), seen, criterion, job.sources)
        judged = random_judgements([criterion.question], rollouts.height)
        found.append(
            judged.with_columns(
                addressed["judgement_id"], addressed["subject"], judge=pl.lit(judge_of(criterion, job.sources))
            )
        )
    return pl.concat(found)


def random_judgements(criteria: list[str], each: int) -> pl.DataFrame:
    count = len(criteria) * each
    return pl.DataFrame(
        {
            "judgement_id": hexes(count),
            "criterion": np.repeat(criteria, each),
            "subject": hexes(count),
            "score": rng.random(count),
            "measured": pl.Series([None] * count, dtype=pl.Float64),
            "tokens": rng.integers(40, 160, count),
        }
    ).with_columns(
        judge=pl.lit(fingerprint("judge")),
        status=pl.lit("scored"),
        raw=pl.format("{} nats", pl.col("score").round(4)),
        reason=pl.lit(""),
        tokens_out=pl.lit(0),
        cost=pl.lit(0.0),
        details=pl.lit(None, dtype=pl.String),
    )


def random_rollouts(count: int) -> pl.DataFrame:
    """What a model makes: about 40 tokens with their log-probs, 200 characters, prompts of about 90 tokens."""
    lengths = rng.integers(30, 49, count)
    total = int(lengths.sum())
    lists = pl.DataFrame(
        {
            "row": np.repeat(np.arange(count), lengths),
            "tokens": rng.integers(0, 49_152, total),
            "logprobs": -rng.exponential(1.0, total),
            "completion": rng.choice(TEXT.split(), total),
        }
    )
    made = lists.group_by("row", maintain_order=True).agg("tokens", "logprobs", pl.col("completion").str.join(" "))
    prompts = [rng.integers(0, 49_152, int(length)).tolist() for length in rng.integers(60, 120, count // GROUP)]
    prompt_tokens = pl.Series([tokens for tokens in prompts for _ in range(GROUP)])
    without_thoughts = {"thought": pl.lit(""), "thought_tokens": pl.lit(0)}
    return made.drop("row").with_columns(prompt_tokens=prompt_tokens, finish_reason=pl.lit("stop"), **without_thoughts)


def hexes(count: int) -> list[str]:
    """Random fingerprints."""
    digits = rng.bytes(8 * count).hex()
    return [digits[start : start + 16] for start in range(0, 16 * count, 16)]


if __name__ == "__main__":
    print(json.dumps(make_store(Path(sys.argv[1]), int(sys.argv[2]))))
