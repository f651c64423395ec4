import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign.addresses import transcript
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import EngineError
from rft_pipeline.judges import likelihood
from rft_pipeline.progress import Progress
from rft_pipeline.stages import waiting
from rft_pipeline.store import Table, judgements_table
from tests.judges.engines import Answering, Counting, OneEngine, Told
from tests.stages.judged import judge_rollouts

POLITE: dict[str, Any] = {
    "name": "polite",
    "judge": {"protocol": "contrast", "positive": "You are a polite agent.", "negative": "You are a rude person."},
}
RELEVANT: dict[str, Any] = {"name": "relevant", "judge": {"protocol": "relevance"}}
ENOUGH: dict[str, Any] = {"name": "enough", "judge": {"protocol": "rule", "rule": {"name": "length", "min_words": 4}}}
ENDS: dict[str, Any] = {"name": "ends", "judge": {"protocol": "rule", "rule": {"name": "finishes", "min_words": 1}}}


def criteria(*configs: dict[str, Any]) -> list[Criterion]:
    return [Criterion.model_validate(config) for config in configs]


def rollouts(*completions: str, prompt: str = "Please help.", finish_reason: str = "stop") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "rollout_id": [f"r{i}" for i in range(len(completions))],
            "messages": json.dumps([{"role": "user", "content": prompt}]),
            "completion": list(completions),
            "finish_reason": finish_reason,
            "fields": "{}",
        }
    )


def judged(
    rows: pl.DataFrame, wanted: list[Criterion], table: Table, engine: Any, model: str = "judge-1"
) -> tuple[pl.DataFrame, dict[str, int]]:
    return judge_rollouts(rows, wanted, {"judge": model}, table, OneEngine(engine), Progress("judge_scores"))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return judgements_table(tmp_path)


@pytest.fixture
def engine(tiny_engine: TransformersEngine) -> Counting:
    return Counting(tiny_engine)


def test_every_rollout_gets_a_judgement_of_every_criterion_in_order(engine: Counting, table: Table) -> None:
    rows = rollouts("Yes, we will help you.", "No.", "Thank you.")
    scores, made = judged(rows, criteria(POLITE, ENOUGH), table, engine)
    assert scores["rollout_id"].to_list() == ["r0", "r1", "r2"] * 2
    assert scores["criterion"].to_list() == ["polite"] * 3 + ["enough"] * 3
    assert scores["score"].to_list()[3:] == [1.0, 0.25, 0.5]
    assert set(scores["status"]) == {"scored"}
    assert made == {"polite": 3, "enough": 3}


def test_identical_completions_are_judged_once(engine: Counting, table: Table) -> None:
    scores, made = judged(rollouts("Yes.", "No.", "Yes.", "Yes."), criteria(POLITE, ENOUGH), table, engine)
    assert made == {"polite": 2, "enough": 2}
    assert len(engine.asked) == 2 * 2
    polite = scores.filter(pl.col("criterion") == "polite")["score"].to_list()
    assert polite[0] == polite[2] == polite[3] != polite[1]


def test_the_same_completion_of_another_prompt_is_judged_separately(engine: Counting, table: Table) -> None:
    judged(rollouts("Yes."), criteria(POLITE), table, engine)
    assert judged(rollouts("Yes.", prompt="Where is it?"), criteria(POLITE), table, engine)[1] == {"polite": 1}


def test_nothing_is_judged_twice_and_no_engine_is_started_for_it(engine: Counting, table: Table) -> None:
    first, _ = judged(rollouts("Yes.", "No."), criteria(POLITE, ENOUGH), table, engine)
    again, made = judged(rollouts("Yes.", "No."), criteria(POLITE, ENOUGH), table, None)
    assert made == {"polite": 0, "enough": 0}
    assert again.equals(first)


@pytest.mark.parametrize("panel", [False, True], ids=["one judge", "a panel"])
def test_a_judgement_that_failed_here_and_was_made_by_another_run_meanwhile_counts_once(
    table: Table, panel: bool
) -> None:
    kind: dict[str, Any] = {"protocol": "binary", "question": "Is it kind?"}
    asked = {"protocol": "panel", "members": [kind, {**kind, "by": "judge"}]} if panel else kind
    (criterion,) = criteria({"name": "kind", "judge": asked})
    rows = rollouts("Gladly.", "No.")

    class Meanwhile(Told):
        """Before its own call fails, another run asks the same and keeps the answer."""

        def ask(self, requests: Any) -> Any:
            judged(rows, [criterion], table, Told(lambda _: "Yes"))
            return super().ask(requests)

    scores, _ = judged(rows, [criterion], table, Meanwhile(lambda _: None))
    assert scores["rollout_id"].to_list() == ["r0", "r1"]
    assert scores["score"].to_list() == [1.0, 1.0]


def test_rules_alone_need_no_engine(table: Table) -> None:
    scores, _ = judged(rollouts("Yes."), criteria(ENOUGH), table, None)
    assert scores["score"].to_list() == [0.25]


def test_editing_one_criterion_rejudges_only_that_criterion(engine: Counting, table: Table) -> None:
    rows = rollouts("Yes.", "No.", "Thank you.")
    before, _ = judged(rows, criteria(POLITE, RELEVANT, ENOUGH), table, engine)
    engine.asked.clear()
    ruder = {**POLITE, "judge": {**POLITE["judge"], "negative": "You are a very rude person."}}
    after, made = judged(rows, criteria(ruder, RELEVANT, ENOUGH), table, engine)
    assert made == {"polite": 3, "relevant": 0, "enough": 0}
    assert len(engine.asked) == 3 * 2
    assert after.filter(pl.col("criterion") != "polite").equals(before.filter(pl.col("criterion") != "polite"))
    assert after["score"].to_list()[:3] != before["score"].to_list()[:3]


def test_going_back_to_an_earlier_wording_judges_nothing(engine: Counting, table: Table) -> None:
    rows = rollouts("Yes.", "No.")
    before, _ = judged(rows, criteria(POLITE), table, engine)
    judged(rows, criteria({**POLITE, "judge": {**POLITE["judge"], "positive": "You are kind."}}), table, engine)
    again, made = judged(rows, criteria(POLITE), table, engine)
    assert made == {"polite": 0}
    assert again.equals(before)


def test_weight_gate_and_name_cost_no_judgement(engine: Counting, table: Table) -> None:
    judged(rollouts("Yes.", "No."), criteria(POLITE), table, engine)
    renamed = {**POLITE, "name": "courteous", "weight": 3, "gate": 0.5}
    scores, made = judged(rollouts("Yes.", "No."), criteria(renamed), table, engine)
    assert made == {"courteous": 0}
    assert scores["criterion"].to_list() == ["courteous", "courteous"]


def test_a_new_judge_model_judges_again_but_rules_do_not(engine: Counting, table: Table) -> None:
    judged(rollouts("Yes."), criteria(POLITE, ENOUGH), table, engine)
    _, made = judged(rollouts("Yes."), criteria(POLITE, ENOUGH), table, engine, model="judge-2")
    assert made == {"polite": 1, "enough": 0}


def test_how_a_reply_ended_matters_to_rules_and_not_to_models(engine: Counting, table: Table) -> None:
    judged(rollouts("Yes."), criteria(POLITE, ENDS), table, engine)
    scores, made = judged(rollouts("Yes.", finish_reason="length"), criteria(POLITE, ENDS), table, engine)
    assert made == {"polite": 0, "ends": 1}
    assert scores["score"].to_list()[1] == 0.0


def test_what_the_judge_cannot_say_is_stored_without_a_score(tiny_engine: TransformersEngine, table: Table) -> None:
    scores, _ = judged(rollouts("Yes."), criteria(POLITE), table, Answering(tiny_engine, float("nan")))
    assert scores.select("score", "status").rows() == [(None, "unscored")]
    assert table.rows().collect().select("score", "status").rows() == [(None, "unscored")]
    assert "nan" in scores["reason"][0]


def test_a_run_that_was_killed_keeps_its_judgements_and_makes_only_the_missing(
    tiny_engine: TransformersEngine, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "ROWS", 2)
    monkeypatch.setattr(likelihood, "CHUNK", 2)
    rows = rollouts(*(f"Yes, {word}." for word in ("lamp", "desk", "chair", "table", "order", "price")))
    with pytest.raises(EngineError, match="the engine is gone"):
        judged(rows, criteria(POLITE), table, Counting(tiny_engine, limit=2 * 4))
    assert table.rows().collect().height == 4
    engine = Counting(tiny_engine)
    scores, made = judged(rows, criteria(POLITE), table, engine)
    assert made == {"polite": 2}
    assert len(engine.asked) == 2 * 2
    assert scores["score"].null_count() == 0


def test_a_judge_reads_one_turn_as_it_is_and_several_with_their_speakers() -> None:
    system = {"role": "system", "content": "Be kind."}
    user = {"role": "user", "content": "Where is it?"}
    assert transcript(json.dumps([system, user])) == "Where is it?"
    turns = [system, user, {"role": "assistant", "content": "Here."}, user]
    assert transcript(json.dumps(turns)) == "user: Where is it?\nassistant: Here.\nuser: Where is it?"


def test_a_rule_sees_the_prompts_fields(table: Table, engine: Counting) -> None:
    rows = rollouts("Which order number?", "Which order number?").with_columns(
        fields=pl.Series(['{"needed": true}', '{"needed": false}'])
    )
    rule = {"name": "asks_for", "pattern": "order number", "when": "needed"}
    scores, made = judged(rows, criteria({"name": "asks", "judge": {"protocol": "rule", "rule": rule}}), table, engine)
    assert made == {"asks": 2}
    assert scores["score"].to_list() == [1.0, 0.0]
