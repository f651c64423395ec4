"""Which checkpoints a criterion's wording has influenced."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.index import EQUAL, READ
from rft_pipeline.lineage.trace_criterion import CriterionTrace, CriterionVersion
from rft_pipeline.store import Home, RecordStore
from tests.lineage.small import POLITE_1, POLITE_1_FP, POLITE_2, POLITE_2_FP, Store
from tests.runs import edit, run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def versions(home: Home, what: str) -> dict[str, CriterionVersion]:
    found = trace(home, what)
    assert isinstance(found, CriterionTrace)
    return {version.fingerprint: version for version in found.versions}


def test_an_edited_criterion_has_two_versions_each_with_its_checkpoints(finished_copy: Path) -> None:
    home, records = Home.find(), RecordStore(Home.find().store)
    old = {round_: records.current(f"tiny/round_{round_}/checkpoints") for round_ in (1, 2)}
    assert old[1] is not None
    assert old[2] is not None
    before = load_campaign(finished_copy).rubric.criteria[0].fingerprint
    edit(finished_copy / "rubric.yaml", "criteria.0.judge.positive", "You are a very warm and kind agent.")
    after = load_campaign(finished_copy).rubric.criteria[0].fingerprint
    stages = ("rubric", "round_2/judge_scores", "round_2/reward_batches", "round_2/checkpoints")
    new = run(finished_copy, stages)["round_2/checkpoints"]

    found = versions(home, "tiny:polite")
    assert list(found) == [before, after]
    assert {each.address for each in found[before].direct} == {old[1].address, old[2].address}
    assert [(each.address, each.via) for each in found[before].by_descent] == [(new.address, old[1].address)]
    assert [(each.address, each.is_current, each.by) for each in found[after].direct] == [(new.address, True, READ)]
    assert found[after].by_descent == ()
    assert found[after].asks["judge"]["positive"] == "You are a very warm and kind agent."
    assert [each.weight for each in found[after].direct] == [2 / 7]
    assert len(found[before].judge_scores) == 2
    assert len(found[before].eval_reports) == 2
    assert versions(home, after[:6]) == {after: found[after]}


def test_influence_goes_on_through_later_rounds_and_campaigns(store: Store) -> None:
    base = store.put("a/policy", "base")
    first = store.round("a", 1, base, POLITE_1)["checkpoints"]
    second = store.round("a", 2, first, POLITE_2)["checkpoints"]
    begun = store.put("b/policy", second.content_hash, inputs={"weights": second.content_hash})
    third = store.round("b", 1, begun, POLITE_2)["checkpoints"]
    found = versions(store.home, "a:polite")
    assert [each.address for each in found[POLITE_1_FP].direct] == [first.address]
    assert [each.address for each in found[POLITE_1_FP].by_descent] == [second.address, third.address]
    assert [each.address for each in found[POLITE_2_FP].direct] == [second.address, third.address]
    assert found[POLITE_2_FP].names == ("a:polite", "b:polite")


def test_a_criterion_without_weight_or_gate_influences_nothing(store: Store) -> None:
    made = store.round("a", 1, store.put("a/policy", "base"), POLITE_1, weight=0.0)
    found = versions(store.home, "a:polite")[POLITE_1_FP]
    assert found.direct == ()
    assert found.unweighted == (made["reward_batches"].address,)
    assert [each.address for each in found.judge_scores] == [made["judge_scores"].address]


def test_scores_that_came_out_the_same_count_as_equal_content(store: Store) -> None:
    base = store.put("a/policy", "base")
    made = store.round("a", 1, base, POLITE_1, scores="the same")
    store.put(
        "a/round_1/judge_scores", "the same", {"rollouts": made["rollouts"]}, {"criteria": {"polite": POLITE_2}},
        inputs={"judge": "judge weights"},
    )  # fmt: skip
    found = versions(store.home, "a:polite")
    assert [(each.address, each.by) for each in found[POLITE_1_FP].direct] == [(made["checkpoints"].address, READ)]
    assert [(each.address, each.by) for each in found[POLITE_2_FP].direct] == [(made["checkpoints"].address, EQUAL)]
