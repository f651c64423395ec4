"""What a record was made from, and what was made from it."""

import json
import shutil
from pathlib import Path

import pytest

from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.lineage.find import trace
from rft_pipeline.lineage.index import EQUAL, READ
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.stages import STAGES
from rft_pipeline.store import Home, Record, RecordStore
from rft_pipeline.store.records import RECORD
from tests.lineage.small import POLITE_1, POLITE_1_FP, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def of_record(home: Home, what: str) -> RecordTrace:
    found = trace(home, what)
    assert isinstance(found, RecordTrace)
    return found


def current(name: str) -> Record:
    found = RecordStore(Home.find().store).current(f"tiny/{name}")
    assert found is not None
    return found


def test_a_checkpoint_leads_back_over_the_rounds_to_the_base_policy(finished_home: Path) -> None:
    found = of_record(Home.find(), "tiny/round_2/checkpoints")
    newest, oldest = found.chain
    assert newest.checkpoint == found.address == current("round_2/checkpoints").address
    assert newest.policy == oldest.checkpoint == current("round_1/checkpoints").address
    assert oldest.policy == current("policy").address
    assert newest.reward_batch == current("round_2/reward_batches").address
    assert newest.rollouts == current("round_2/rollouts").address
    assert newest.judge_scores == current("round_2/judge_scores").address
    assert newest.rubric == oldest.rubric == current("rubric").address
    assert newest.prompts_files == {
        split: file_sha256(finished_home / "prompts" / f"{split}.jsonl") for split in ("train", "eval")
    }


def test_a_checkpoint_shows_its_rubric_with_weights_and_the_judges_weights(finished_home: Path) -> None:
    found = of_record(Home.find(), "tiny/round_2/checkpoints")
    weights = {each.name: each.weight for each in found.criteria}
    assert weights == {"polite": 2 / 7, "relevant": 2 / 7, "says_enough": 2 / 7, "has_an_e": 1 / 7}
    assert {each.name: each.protocol for each in found.criteria}["polite"] == "contrast"
    (judge,) = found.judges
    assert judge.content_hash == current("policy").content_hash
    assert judge.same_as == (current("policy").address,)


def test_a_record_shows_its_runs_settings_and_software(finished_home: Path) -> None:
    made = current("round_1/checkpoints")
    facts = of_record(Home.find(), made.address).records[made.address]
    assert facts.is_current
    assert facts.settings["learning_rate"] == 1e-3
    assert facts.software == made.software
    assert facts.code_version == str(STAGES["checkpoints"].version)
    assert facts.dagster_asset_url == "http://127.0.0.1:3000/assets/tiny/round_1/checkpoints"
    assert facts.dagster_run_url == f"http://127.0.0.1:3000/runs/{made.dagster_run_id}"
    page = f"/#/runs/{made.mlflow_run_id}?workflowType=machine_learning"
    assert facts.mlflow_run_url == f"http://127.0.0.1:5000{page}"


def test_everything_follows_from_the_policy_and_only_the_promotion_from_the_last_report(finished_home: Path) -> None:
    policy = of_record(Home.find(), "tiny/policy")
    stages = {policy.records[address].stage for address in policy.descendants}
    assert stages == {"rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports", "promotion"}
    assert len(policy.descendants) == 11
    report = of_record(Home.find(), "tiny/round_2/eval_reports")
    assert report.descendants == (current("promotion").address,)
    assert len(report.ancestors) == 12  # all others but round 1's report
    assert report.chain[0].checkpoint == current("round_2/checkpoints").address


def test_a_reward_batch_is_made_from_four_records_and_into_a_checkpoint(finished_home: Path) -> None:
    address = current("round_1/reward_batches").address
    facts = of_record(Home.find(), address).records[address]
    assert {source.role for source in facts.made_from} == {"rubric", "rollouts", "judge_scores", "labels"}
    assert all(source.exists and source.equal == () for source in facts.made_from)
    (use,) = facts.made_into
    assert (use.address, use.role, use.by) == (current("round_1/checkpoints").address, "reward_batches", READ)


def test_a_record_of_equal_content_would_have_given_the_same_and_is_told_apart(store: Store) -> None:
    policy = store.put("a/policy", "base")
    first = store.round("a", 1, policy, POLITE_1, scores="the same")
    again = store.put(
        "a/round_1/judge_scores", "the same", {"rollouts": first["rollouts"]}, {"criteria": {"polite": POLITE_1}}
    )
    found = of_record(store.home, again.address)
    here = found.records[again.address]
    assert here.equal == (first["judge_scores"].address,)
    (use,) = here.made_into
    assert (use.address, use.by) == (first["reward_batches"].address, EQUAL)
    assert first["checkpoints"].address in found.descendants
    batch = of_record(store.home, first["reward_batches"].address).records[first["reward_batches"].address]
    (scores,) = [source for source in batch.made_from if source.role == "judge_scores"]
    assert scores.address == first["judge_scores"].address
    assert scores.equal == (again.address,)


def test_what_is_gone_is_named_and_one_of_equal_content_stands_in(store: Store) -> None:
    policy = store.put("a/policy", "base")
    first = store.round("a", 1, policy, POLITE_1, scores="the same")
    twin = store.put(
        "a/round_1/judge_scores", "the same", {"rollouts": first["rollouts"]}, {"criteria": {"polite": POLITE_1}}
    )
    shutil.rmtree(first["judge_scores"].folder)
    found = of_record(store.home, first["checkpoints"].address)
    assert [link.judge_scores for link in found.chain] == [twin.address]
    assert [each.fingerprint for each in found.criteria] == [POLITE_1_FP]
    shutil.rmtree(twin.folder)
    found = of_record(store.home, first["checkpoints"].address)
    assert [link.judge_scores for link in found.chain] == [None]
    assert found.criteria == ()
    batch = found.records[first["reward_batches"].address]
    (scores,) = [source for source in batch.made_from if source.role == "judge_scores"]
    assert (scores.address, scores.exists, scores.equal) == (first["judge_scores"].address, False, ())


def test_a_campaign_that_began_with_a_checkpoint_leads_back_into_the_other_campaign(store: Store) -> None:
    base = store.put("a/policy", "base")
    champion = store.round("a", 1, base, POLITE_1)["checkpoints"]
    begun = store.put("b/policy", champion.content_hash, inputs={"weights": champion.content_hash})
    store.put("c/policy", "base", inputs={"weights": "base"})
    newest = store.round("b", 1, begun, POLITE_1)["checkpoints"]
    found = of_record(store.home, newest.address)
    assert [link.checkpoint for link in found.chain] == [newest.address, champion.address]
    assert found.chain[-1].policy == base.address
    assert newest.address in of_record(store.home, base.address).descendants
    assert "c/policy" not in {found.records[address].campaign + "/policy" for address in found.ancestors}


def test_a_record_made_before_upstreams_were_noted_is_linked_by_content(store: Store) -> None:
    policy = store.put("a/policy", "base")
    rollouts = store.put("a/round_1/rollouts", "rows", settings={}, inputs={"policy": "base"})
    found = of_record(store.home, rollouts.address)
    (source,) = found.records[rollouts.address].made_from
    assert (source.role, source.address, source.equal) == ("policy", None, (policy.address,))
    assert of_record(store.home, policy.address).descendants == (rollouts.address,)


def test_a_record_that_does_not_name_what_it_read_is_traced_by_content(finished_copy: Path) -> None:
    batch = current("round_1/reward_batches")
    scores, rollouts = current("round_1/judge_scores"), current("round_1/rollouts")
    path = batch.folder / RECORD
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"upstream": {}}), encoding="utf-8")
    found = of_record(Home.find(), batch.address)
    assert {scores.address, rollouts.address} <= set(found.ancestors)
    assert {each.name for each in found.criteria} == {"polite", "relevant", "says_enough", "has_an_e"}
