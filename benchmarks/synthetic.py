"""A store of any size without a model: one campaign with a finished and a begun round, among the rows of others.

The campaign `scale` and all its addresses are real, so `rft plan` and the stages find their rows; tokens, texts and
scores are random. The rounds of other campaigns are rows only. Merged files hold everything but the last commits,
which are as small as a working stage makes them.
"""

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from safetensors.numpy import save_file

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.campaign.addresses import (
    as_rollout,
    choose_prompts,
    judge_of,
    judgement_addresses,
    rollout_addresses,
    sampling_fingerprint,
)
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.progress import Progress
from rft_pipeline.stages import STAGES
from rft_pipeline.stages.base import Output
from rft_pipeline.stages.graph import nodes, payload
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table

NAME = "scale"
PROMPTS, GROUP = 1250, 8
ROUND = PROMPTS * GROUP
"""Rollouts of a round."""
CAMPAIGNS = 5
"""Who the rows belong to; each has its own criteria."""
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
    rows = random_rollouts(ROUND)
    others = rollouts // ROUND - 1
    for number in range(others // 2):
        append_round(home, campaign, rows, number)
    checkpoint = finish_round(home, campaign, rows)
    for number in range(others // 2, others):
        append_round(home, campaign, rows, number)
    tables = rollouts_table(home.store), judgements_table(home.store)
    for table in tables:
        table.tidy()
    begin_round(home, campaign, checkpoint, rows)
    counts = [table.rows().select(pl.len()).collect().item() for table in tables]
    return {"rollouts": counts[0], "judgements": counts[1], "seconds": time.perf_counter() - began}


def write_campaign(folder: Path) -> Campaign:
    """Two rounds of `PROMPTS` prompts × `GROUP`, three rules and three judged criteria; the model is two numbers."""
    (folder / "model").mkdir(parents=True)
    save_file({"weight": np.zeros(2, dtype=np.float32)}, folder / "model" / "model.safetensors")
    for split, count in (("train", 2 * PROMPTS), ("eval", 100)):
        lines = [json.dumps({"id": f"{split}-{n}", "prompt": f"Order {n} ({split}) is late."}) for n in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    contrast = {"protocol": "contrast", "negative": "You are rude."}
    judges: dict[str, dict[str, Any]] = {
        "polite": {**contrast, "positive": "You are polite."},
        "warm": {**contrast, "positive": "You are warm."},
        "brief": {**contrast, "positive": "You are brief."},
        "long_enough": {"protocol": "rule", "rule": {"name": "length", "min_words": 6}},
        "has_an_e": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}},
        "has_an_a": {"protocol": "rule", "rule": {"name": "regex", "pattern": "a"}},
    }
    rubric = {"criteria": [{"name": name, "judge": judge} for name, judge in judges.items()]}
    settings = {
        "name": NAME,
        "rounds": 2,
        "policy": {"model": "model"},
        "judge": {"model": "model"},
        "prompts": {"train": "train.jsonl", "eval": "eval.jsonl"},
        "rollouts": {"prompts_per_round": PROMPTS, "group_size": GROUP},
    }
    for name, content in (("campaign", settings), ("rubric", rubric)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_campaign(folder)


def finish_round(home: Home, campaign: Campaign, rows: pl.DataFrame) -> Record:
    """Make the records up to the first report as the pipeline would, all rows being there; returns the checkpoint."""
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
            trains = here.stage in ("checkpoints", "eval_reports")
            output = Output(fingerprint(here.key)) if trains else STAGES[here.stage].run(job)
            record = Record(
                key=here.key,
                fingerprint=fingerprint(made_from),
                payload=made_from,
                content_hash=output.content_hash,
                upstream={role: above.address for role, above in upstream.items()},
                parts=output.parts,
                rows=output.rows,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            made[here.name] = records.commit(record, workdir)
    return made["round_1/checkpoints"]


def begin_round(home: Home, campaign: Campaign, checkpoint: Record, rows: pl.DataFrame) -> None:
    """What a killed run leaves of the second round, and of another campaign's judge: small commits."""
    prompts = RecordStore(home.store).current(f"{NAME}/prompts")
    assert prompts is not None
    addressed = addresses(campaign, {"prompts": prompts, "policy": checkpoint}, 2)
    begun = pl.concat([rows, addressed], how="horizontal")
    judged = random_judgements(criteria_of(campaign, 1)[:1], COMMIT * COMMITS)
    for start in range(0, COMMIT * COMMITS, COMMIT):
        rollouts_table(home.store).append(begun.slice(start, COMMIT))
        judgements_table(home.store).append(judged.slice(start, COMMIT))


def append_round(home: Home, campaign: Campaign, rows: pl.DataFrame, number: int) -> None:
    """The rows of a round of some campaign, two commits."""
    fixed = {"policy": hexes(1)[0], "sampling": fingerprint("sampling")}
    rollouts_table(home.store).append(
        rows.with_columns(
            rollout_id=pl.Series(hexes(ROUND)),
            prompt_id=pl.Series(np.repeat(hexes(PROMPTS), GROUP)),
            **{name: pl.lit(value) for name, value in fixed.items()},
            sample_index=pl.int_range(pl.len()) % GROUP,
        )
    )
    judged = random_judgements(criteria_of(campaign, number % CAMPAIGNS), ROUND)
    judgements_table(home.store).append(judged)


def addresses(campaign: Campaign, upstream: Mapping[str, Record], round_: int) -> pl.DataFrame:
    """The address columns of a round's rollouts."""
    prompts = pl.read_parquet(upstream["prompts"].path("prompts.parquet")).filter(split="train")
    chosen = choose_prompts(prompts, PROMPTS, campaign.seed, round_)
    sampling = sampling_fingerprint(campaign.rollouts.sampling, campaign.policy.system, campaign.seed)
    policy = upstream["policy"].content_hash
    found = rollout_addresses(chosen, policy, sampling, GROUP)
    return found.with_columns(policy=pl.lit(policy), sampling=pl.lit(sampling))


def criteria_of(campaign: Campaign, number: int) -> list[str]:
    """Fingerprints of the criteria of campaign `number`; 0 is ours."""
    ours = [criterion.fingerprint for criterion in campaign.rubric.criteria]
    return ours if number == 0 else [fingerprint([number, each]) for each in ours]


def judgements_of(job: Job) -> pl.DataFrame:
    """The judgements that a round's rollouts need, at their addresses."""
    rollouts = job.frame("rollouts")
    views = [as_rollout(row) for row in rollouts.iter_rows(named=True)]
    found = []
    for criterion in job.campaign.rubric.criteria:
        addressed = judgement_addresses(rollouts["rollout_id"].to_list(), views, criterion, job.sources)
        judged = random_judgements([criterion.fingerprint], len(views))
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
