import json
from typing import Any

import polars as pl
import pytest

from rft_pipeline.errors import DataError
from rft_pipeline.evaluation.compare import RoundRows, compare_rounds

Rows = list[dict[str, Any]]
SCHEMA = pl.Schema(
    {
        "prompt_id": pl.String(),
        "sample_index": pl.Int64(),
        "messages": pl.String(),
        "completion": pl.String(),
        "finish_reason": pl.String(),
        "tokens": pl.List(pl.Int64()),
        "thought_tokens": pl.Int64(),
        "scores": pl.Struct({"polite": pl.Float64(), "finishes": pl.Float64()}),
        "gated": pl.Boolean(),
        "reward": pl.Float64(),
    }
)


def reply(
    prompt_id: str,
    polite: float | None,
    finishes: float | None,
    *,
    sample_index: int = 0,
    length: int = 10,
    completion: str = "we are sorry",
    gated: bool = False,
) -> dict[str, Any]:
    scored = [score for score in (polite, finishes) if score is not None]
    return {
        "prompt_id": prompt_id,
        "sample_index": sample_index,
        "messages": json.dumps([{"role": "user", "content": f"question {prompt_id}"}]),
        "completion": completion,
        "finish_reason": "stop" if finishes else "length",
        "tokens": list(range(length)),
        "thought_tokens": 0,
        "scores": {"polite": polite, "finishes": finishes},
        "gated": gated,
        "reward": 0.0 if gated else sum(scored) / len(scored) if scored else None,
    }


def rounds_of(*tables: Rows) -> list[RoundRows]:
    return [RoundRows(i, f"policy {i}", pl.DataFrame(rows, schema=SCHEMA)) for i, rows in enumerate(tables)]


def compare(*tables: Rows, gates: dict[str, float] | None = None) -> dict[str, Any]:
    return compare_rounds(rounds_of(*tables), judged=["polite"], resamples=200, seed=0, gates=gates)


def test_a_change_that_every_prompt_shares_has_an_interval_of_its_own_size() -> None:
    base = [reply("p1", 0.25, 1.0), reply("p2", 0.5, 0.0), reply("p3", 0.75, 1.0)]
    tuned = [reply("p1", 0.5, 1.0), reply("p2", 0.75, 0.0), reply("p3", 1.0, 1.0)]
    report = compare(base, tuned)
    first, last = report["rounds"]
    assert first["reward"] == pytest.approx((0.625 + 0.25 + 0.875) / 3)
    assert (first["delta"], first["criteria_delta"]) == (None, None)
    assert report["delta"] == last["delta"] == {"mean": 0.125, "lower95": 0.125, "upper95": 0.125}
    assert last["criteria_delta"]["polite"] == {"mean": 0.25, "lower95": 0.25, "upper95": 0.25}
    assert last["criteria_delta"]["finishes"]["mean"] == 0.0
    assert [row["policy"] for row in report["rounds"]] == ["policy 0", "policy 1"]
    assert report["judged"] == ["polite"]


def test_a_change_pairs_the_means_of_each_prompt() -> None:
    base = [reply("p1", 0.0, 0.0), reply("p1", 1.0, 1.0, sample_index=1), reply("p2", 0.5, 0.5)]
    tuned = [reply("p1", 1.0, 1.0), reply("p2", 0.5, 0.5)]
    assert compare(base, tuned)["delta"]["mean"] == 0.25  # p1: 1 against 0.5, p2: 0


def test_unscored_judgements_are_counted_and_never_become_a_number() -> None:
    base = [reply("p1", None, 1.0), reply("p2", 0.5, 1.0), reply("p3", 0.5, 1.0), reply("p4", None, 1.0)]
    polite = compare(base)["rounds"][0]["criteria"]["polite"]
    assert (polite["mean"], polite["unscored"]) == (0.5, 0.5)


def test_unscored_numbers_are_null_and_the_report_is_plain_json() -> None:
    base = [reply("p1", None, 1.0), reply("p2", None, 1.0)]
    report = compare(base, base)
    criteria = report["rounds"][0]["criteria"]
    assert criteria["polite"] == {"mean": None, "lower95": None, "upper95": None, "unscored": 1.0}
    assert report["rounds"][1]["criteria_delta"]["polite"]["mean"] is None
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_health_counts_tokens_truncation_gates_and_monotony() -> None:
    base = [
        reply("p1", 1.0, 1.0, length=10, completion="a b c a b c"),
        reply("p2", 1.0, 0.0, length=20, completion="d e", gated=True),
        reply("p3", 1.0, 0.0, length=30, completion="d e"),
        reply("p4", 1.0, 1.0, length=40, completion="f"),
    ]
    health = compare(base)["rounds"][0]
    assert health["length"] == {"mean": 25.0, "p95": 38.5}
    assert (health["truncated"], health["gated"]) == (0.5, 0.25)
    assert health["distinct2"] == pytest.approx(4 / 7)  # ab bc ca ab bc, de, de
    assert health["repetition"] == pytest.approx(0.25 / 4)


def test_examples_are_the_five_best_gains_and_the_five_worst_losses_of_the_first_replies() -> None:
    base = [reply(f"p{i:02}", 0.5, 0.5) for i in range(12)]
    tuned = [reply(f"p{i:02}", i / 12, i / 12, completion=f"tuned {i}") for i in range(12)]
    second = [reply("p05", 1.0, 1.0, sample_index=1)]
    examples = compare(base, tuned + second)["examples"]
    assert [example["kind"] for example in examples] == ["gain"] * 5 + ["loss"] * 5
    assert [example["prompt"] for example in examples] == [
        f"question p{i:02}" for i in (11, 10, 9, 8, 7, 0, 1, 2, 3, 4)
    ]
    assert examples[5]["difference"] == -0.5
    assert examples[5]["base"] == {
        "completion": "we are sorry",
        "reward": 0.5,
        "scores": {"polite": 0.5, "finishes": 0.5},
    }
    assert examples[5]["tuned"]["completion"] == "tuned 0"


def test_few_prompts_are_shown_once_each_and_unscored_ones_not_at_all() -> None:
    base = [reply("p1", 0.5, 0.5), reply("p2", 0.5, 0.5), reply("p3", None, None)]
    tuned = [reply("p1", 0.0, 0.0), reply("p2", 1.0, 1.0), reply("p3", 1.0, 1.0)]
    examples = compare(base, tuned)["examples"]
    assert [(example["kind"], example["difference"]) for example in examples] == [("gain", 0.5), ("loss", -0.5)]


def test_base_alone_has_no_change_and_no_examples() -> None:
    report = compare([reply("p1", 0.5, 1.0), reply("p2", 0.5, 1.0)], gates={"finishes": 0.5})
    assert (report["delta"], report["examples"], report["gates"]) == (None, [], {"finishes": 0.5})


def test_one_prompt_has_a_change_without_bounds() -> None:
    assert compare([reply("p1", 0.5, 0.5)], [reply("p1", 0.75, 0.75)])["delta"] == {
        "mean": 0.25,
        "lower95": None,
        "upper95": None,
    }


def test_the_order_of_rows_changes_nothing() -> None:
    base = [reply(f"p{i}", i / 10, 1.0) for i in range(9)]
    tuned = [reply(f"p{i}", 1 - i / 10, i % 2) for i in range(9)]
    assert compare(base, tuned) == compare(base[::-1], tuned[::-1])


def test_rounds_must_answer_the_same_prompts_on_the_same_criteria_and_start_with_base() -> None:
    base = [reply("p1", 0.5, 1.0)]
    with pytest.raises(DataError, match=r"round 1: 2 prompts differ from those of base \(e.g. p1, p9\)"):
        compare(base, [reply("p9", 0.5, 1.0)])
    renamed = pl.DataFrame(base, schema=SCHEMA).with_columns(pl.struct(kind=pl.lit(1.0)).alias("scores"))
    with pytest.raises(DataError, match=r"round 1: criteria \['kind'\], base has \['polite', 'finishes'\]"):
        compare_rounds([*rounds_of(base), RoundRows(1, "x", renamed)], [], 100, 0)
    with pytest.raises(DataError, match=r"\[1\]: they must start with 0"):
        compare_rounds([RoundRows(1, "x", renamed)], [], 100, 0)
    with pytest.raises(DataError, match="no replies"):
        compare([])
