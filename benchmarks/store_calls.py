"""What `benchmarks.store` times, each in a process of its own: `python -m benchmarks.store_calls CALL ROOT`.

Each call prepares what it needs, then times itself, checks what it found and returns seconds.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.synthetic import COMMIT, COMMITS, NAME, ROUND, hexes
from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.addresses import judge_of
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.trace_rows import RolloutTrace
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table
from rft_pipeline.store.rows import judged_by
from rft_pipeline.upkeep.gc import garbage
from rft_pipeline.upkeep.layout import layout
from rft_pipeline.upkeep.reach import readable
from rft_pipeline.upkeep.verify_tables import lacking_rows

APPENDS = 5


def plan_campaign(home: Home) -> float:
    began = time.perf_counter()
    steps = plan(load_campaign(home.data / NAME), home).steps
    seconds = time.perf_counter() - began
    (begun,) = [step for step in steps if step.key == f"{NAME}/round_2/rollouts"]
    expect(begun.rows.have, COMMIT * COMMITS)
    return seconds


def missing_rollouts(home: Home) -> float:
    """Every second rollout of a round exists; the policy is not given."""
    wanted = half_known(finished(home)["rollout_id"])
    table = rollouts_table(home.store)
    began = time.perf_counter()
    found = table.missing(wanted.rename({"key": "rollout_id"}))
    seconds = time.perf_counter() - began
    expect(found.height, ROUND // 2)
    return seconds


def missing_rollouts_of_policy(home: Home) -> float:
    """The same, as the stage asks."""
    rows = finished(home)
    wanted, policy = half_known(rows["rollout_id"]), rows["policy"][0]
    table = rollouts_table(home.store)
    began = time.perf_counter()
    found = table.missing(wanted.rename({"key": "rollout_id"}), pl.col("policy") == policy)
    seconds = time.perf_counter() - began
    expect(found.height, ROUND // 2)
    return seconds


def missing_judgements(home: Home) -> float:
    """Of a round's judgements every second is there, criterion after criterion, as the stage asks."""
    campaign = load_campaign(home.data / NAME)
    judges = source_hashes(campaign, home, fetch=False)
    table = judgements_table(home.store)
    asked = []
    for criterion in campaign.rubric.criteria:
        where = judged_by(criterion.question, judge_of(criterion, judges))
        there = table.rows(*where).select("judgement_id").collect()["judgement_id"]
        asked.append((half_known(there.head(ROUND)).rename({"key": "judgement_id"}), where))
    began = time.perf_counter()
    found = [table.missing(wanted, *where).height for wanted, where in asked]
    seconds = time.perf_counter() - began
    expect(sum(found), len(asked) * ROUND // 2)
    return seconds


def read_round(home: Home) -> float:
    rows = finished(home)
    table = rollouts_table(home.store)
    began = time.perf_counter()
    found = table.read(rows.select("rollout_id"), pl.col("policy") == rows["policy"][0])
    seconds = time.perf_counter() - began
    expect(found.height, ROUND)
    return seconds


def read_one(home: Home) -> float:
    """One rollout by its id alone."""
    wanted = finished(home).select("rollout_id").sample(1, seed=0)
    table = rollouts_table(home.store)
    began = time.perf_counter()
    found = table.read(wanted)
    seconds = time.perf_counter() - began
    expect(found.height, 1)
    return seconds


def trace_rollout(home: Home) -> float:
    """One rollout, by its id, with its judgements and what was trained on it."""
    wanted = finished(home)["rollout_id"][0]
    began = time.perf_counter()
    found = trace(home, wanted)
    seconds = time.perf_counter() - began
    assert isinstance(found, RolloutTrace)
    expect(len(found.rollout.judgements), 6)
    return seconds


def gc(home: Home) -> float:
    """What `rft gc` finds, without removing it."""
    campaign = load_campaign(home.data / NAME)
    began = time.perf_counter()
    with garbage(home, [campaign], None, free=False) as found:
        seconds = time.perf_counter() - began
        rollouts, judgements = (each.unneeded.height for each in found.tables)
        expect(judgements, 6 * rollouts + COMMIT * COMMITS)
        return seconds


def verify(home: Home) -> float:
    """Of all records, whether the tables have their rows."""
    began = time.perf_counter()
    records = readable(RecordStore(home.store), layout(home.store).records)
    found = lacking_rows(home.store, records, lambda paths, _: paths)
    seconds = time.perf_counter() - began
    expect(len(found), 0)
    return seconds


def append(home: Home) -> float:
    """Mean of a few commits."""
    table = rollouts_table(home.store)
    rows = finished(home).head(COMMIT).select(table.schema.names())
    took = 0.0
    for _ in range(APPENDS):
        fresh = rows.with_columns(rollout_id=pl.Series(hexes(COMMIT)))
        began = time.perf_counter()
        table.append(fresh)
        took += time.perf_counter() - began
    return took / APPENDS


def tidy(home: Home) -> float:
    """After the commits of a stage."""
    tables = rollouts_table(home.store), judgements_table(home.store)
    began = time.perf_counter()
    merged = [table.tidy() for table in tables]
    seconds = time.perf_counter() - began
    assert all(count >= COMMITS for count in merged), merged
    return seconds


def finished(home: Home) -> pl.DataFrame:
    """The rollouts of the finished round, from its record."""
    record: Record | None = RecordStore(home.store).current(f"{NAME}/round_1/rollouts")
    assert record is not None
    return pl.read_parquet(record.path("rollouts.parquet"))


def half_known(there: pl.Series) -> pl.DataFrame:
    """As many keys, every second replaced by a new one."""
    fresh = pl.Series(hexes(len(there)))
    return pl.DataFrame({"key": there, "fresh": fresh, "n": range(len(there))}).select(
        pl.when(pl.col("n") % 2 == 0).then("key").otherwise("fresh").alias("key")
    )


def expect(found: int, wanted: int) -> None:
    assert found == wanted, f"found {found}, expected {wanted}"


CALLS: dict[str, Callable[[Home], float]] = {
    "plan": plan_campaign,
    "missing_rollouts": missing_rollouts,
    "missing_rollouts_of_policy": missing_rollouts_of_policy,
    "missing_judgements": missing_judgements,
    "read_round": read_round,
    "read_one": read_one,
    "trace": trace_rollout,
    "gc": gc,
    "verify": verify,
    "append": append,
    "tidy": tidy,
}

if __name__ == "__main__":
    root = Path(sys.argv[2])
    print(json.dumps({"seconds": CALLS[sys.argv[1]](Home(root / "home", root / "data"))}))
