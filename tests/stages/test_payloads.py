"""What the nodes of a campaign are made from."""

from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.stages import STAGES
from rft_pipeline.stages.base import ORDER_ONLY
from rft_pipeline.stages.graph import (
    ROUND_STAGES,
    code_versions,
    node,
    nodes,
    payload,
    settings,
)
from rft_pipeline.stages.rollouts import Rollouts
from rft_pipeline.store import Record
from tests.runs import edit

SOURCES = {"prompts.train": "t", "prompts.eval": "e", "policy": "p", "judge": "j"}


class OnlyUsed(dict[str, Record]):
    """Records by role, which remembers what was looked at."""

    def __init__(self, roles: dict[str, str]) -> None:
        parts = {"train": "train-hash", "eval": "eval-hash", "choices": "choices-hash", "noise": "noise-hash"}
        super().__init__(
            {
                role: Record(f"tiny/{name}", "f", {}, f"hash of {name}", parts=parts, rows={"labels": 0})
                for role, name in roles.items()
            }
        )
        self.used: set[str] = set()

    def __getitem__(self, role: str) -> Record:
        self.used.add(role)
        return super().__getitem__(role)


def made_from(folder: Path, name: str) -> dict[str, Any]:
    campaign = load_campaign(folder)
    here = node(campaign, name)
    return payload(campaign, here, OnlyUsed(here.upstream), SOURCES)


def changed(folder: Path, edit_file: str, where: str, value: object) -> set[str]:
    """The nodes whose fingerprint an edit changes while their upstream stays as it is."""
    names = [found.name for found in nodes(load_campaign(folder))]
    before = {name: fingerprint(made_from(folder, name)) for name in names}
    edit(folder / edit_file, where, value)
    return {name for name in names if fingerprint(made_from(folder, name)) != before[name]}


def every_round(*stages: str) -> set[str]:
    """These stages of both rounds; the promotion may have to judge a champion as eval reports do."""
    last = {"promotion"} if "eval_reports" in stages else set()
    return {f"round_{round_}/{stage}" for round_ in (1, 2) for stage in stages} | last


def test_every_stage_has_a_code_version_and_it_is_part_of_what_it_is_made_from(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {"prompts", "rubric", "policy", "warm_start", "labels", "judge_audit", "promotion"}
    assert STAGES.keys() == {*others, *ROUND_STAGES}
    before = made_from(tiny_campaign, "round_1/rollouts")
    monkeypatch.setattr(Rollouts, "version", 99)
    after = made_from(tiny_campaign, "round_1/rollouts")
    assert {key for key in before if before[key] != after[key]} == {"code_version"}


def test_no_payload_looks_at_what_comes_with_the_settings(tiny_campaign: Path) -> None:
    campaign = load_campaign(tiny_campaign)
    for here in nodes(campaign):
        upstream = OnlyUsed(here.upstream)
        payload(campaign, here, upstream, SOURCES)
        assert not upstream.used & ORDER_ONLY


@pytest.mark.parametrize(
    ("where", "value", "remade"),
    [
        ("seed", 8, every_round("rollouts", "checkpoints", "eval_reports")),
        ("rounds", 2, set()),
        ("description", "words", set()),
        ("policy.system", "Be kind.", every_round("rollouts", "eval_reports")),
        ("rollouts.group_size", 8, every_round("rollouts")),
        ("rollouts.runtime.batch_size", 1, set()),
        ("judge.runtime.dtype", "bfloat16", set()),
        ("reward.damping", 0.2, every_round("reward_batches")),
        ("training.learning_rate", 0.1, every_round("checkpoints")),
        ("training.lora.rank", 2, set()),
        ("training.runtime.micro_batch_size", 2, set()),
        ("evaluation.samples_per_prompt", 2, every_round("eval_reports")),
        ("checks.max_truncated_share", 0.1, set()),
        ("promotion.margin", 0.1, {"promotion"}),
    ],
)
def test_a_setting_of_the_campaign_changes_the_stages_it_is_for(
    tiny_campaign: Path, where: str, value: object, remade: set[str]
) -> None:
    assert changed(tiny_campaign, "campaign.yaml", where, value) == remade


def test_the_rank_counts_only_for_an_adapter(tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "training.weights", "lora")
    assert changed(tiny_campaign, "campaign.yaml", "training.lora.rank", 2) == every_round("checkpoints")


def test_a_training_by_grpo_is_identified_by_the_settings_that_grpo_reads(tiny_campaign: Path) -> None:
    campaign = load_campaign(tiny_campaign)
    assert payload_settings(campaign) == {
        "method": "grpo",
        "weights": "full",
        "freeze_embeddings": False,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "epochs": 1,
        "batch_size": 8,
        "steps_per_generation": None,
        "clip_low": 0.2,
        "mask_truncated": False,
        "mask_thinking": False,
        "clip_high": 0.28,
        "kl_beta": 0.0,
        "loss_type": "dapo",
        "max_negative_ratio": None,
        "min_effective_share": None,
        "max_grad_norm": 1.0,
        "temperature": 1.0,
        "seed": 7,
    }


@pytest.mark.parametrize(("loss_type", "counts"), [("dapo", False), ("dr_grpo", True)])
def test_the_token_budget_counts_for_the_loss_that_divides_by_it(
    tiny_campaign: Path, loss_type: str, counts: bool
) -> None:
    edit(tiny_campaign / "campaign.yaml", "training.loss_type", loss_type)
    remade = changed(tiny_campaign, "campaign.yaml", "rollouts.sampling.max_new_tokens", 9)
    assert remade == every_round("rollouts", *(["checkpoints"] if counts else []))


def payload_settings(campaign: Campaign) -> dict[str, Any]:
    return settings(campaign, node(campaign, "round_1/checkpoints"))


@pytest.mark.parametrize(
    ("method", "where", "value", "counts"),
    [
        ("grpo", "kl_to", "start", False),  # there is no KL without kl_beta
        ("grpo", "loss_type", "dr_grpo", True),
        ("grpo", "max_negative_ratio", 1, True),
        ("grpo", "min_effective_share", 0.5, True),
        ("grpo", "mask_truncated", True, True),
        ("grpo", "raft.best", 2, False),
        ("grpo", "dpo.beta", 0.2, False),
        ("grpo", "runtime.processes", 2, False),
        ("grpo", "runtime.save_steps", 2, False),
        ("raft", "raft.best", 2, True),
        ("raft", "mask_truncated", True, True),
        ("raft", "clip_low", 0.1, False),
        ("dpo", "dpo.margin", 0.2, True),
        ("dpo", "raft.best", 2, False),
        ("sft", "dpo.beta", 0.2, False),
        ("sft", "epochs", 2, True),
    ],
)
def test_only_the_settings_of_the_method_in_use_count(
    tiny_campaign: Path, method: str, where: str, value: object, counts: bool
) -> None:
    edit(tiny_campaign / "campaign.yaml", "training.method", method)
    remade = changed(tiny_campaign, "campaign.yaml", f"training.{where}", value)
    assert remade == (every_round("checkpoints") if counts else set())


@pytest.mark.parametrize(
    ("where", "value", "remade"),
    [
        ("criteria.0.weight", 2, every_round("reward_batches", "eval_reports")),
        ("criteria.0.gate", 0.5, every_round("reward_batches", "eval_reports")),
        ("criteria.0.description", "words", set()),
        ("criteria.0.judge.squash.scale", 0.1, every_round("judge_scores", "eval_reports")),
    ],
)
def test_a_setting_of_the_rubric_changes_the_stages_it_is_for(
    tiny_campaign: Path, where: str, value: object, remade: set[str]
) -> None:
    assert changed(tiny_campaign, "rubric.yaml", where, value) == {"rubric", *remade}


def test_rollouts_depend_on_the_train_prompts_alone_and_reports_on_the_eval_prompts(tiny_campaign: Path) -> None:
    assert made_from(tiny_campaign, "round_1/rollouts")["inputs"] == {
        "prompts": "train-hash",
        "policy": "hash of policy",
    }
    assert made_from(tiny_campaign, "round_1/eval_reports")["inputs"] == {
        "prompts": "eval-hash",
        "base": "hash of policy",
        "checkpoints_1": "hash of round_1/checkpoints",
        "judge": "j",
    }


def test_without_alarms_nothing_of_them_is_in_what_a_report_is_made_from(tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "anchors", "anchors.jsonl")
    found = made_from(tiny_campaign, "round_2/eval_reports")
    assert found["inputs"].keys() == {"prompts", "base", "checkpoints_1", "checkpoints_2", "judge"}
    assert "alarms" not in found["settings"]
    edit(tiny_campaign / "campaign.yaml", "alarms", {})
    watched = made_from(tiny_campaign, "round_2/eval_reports")
    assert watched["inputs"].keys() - found["inputs"].keys() == {"before"}
    assert watched["settings"].keys() - found["settings"].keys() == {"alarms"}
    assert {key for key in found["settings"] if found["settings"][key] != watched["settings"][key]} == set()


def test_a_rubric_of_rules_depends_on_no_judge_model(tiny_campaign: Path) -> None:
    assert made_from(tiny_campaign, "round_1/judge_scores")["inputs"]["judge"] == "j"
    rule = {"name": "has_an_e", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}}
    edit(tiny_campaign / "rubric.yaml", "criteria", [rule])
    assert "judge" not in made_from(tiny_campaign, "round_1/judge_scores")["inputs"]


def versions_changed(folder: Path, edit_file: str, where: str, value: object) -> set[str]:
    """The nodes whose version in Dagster an edit changes."""
    before = code_versions(load_campaign(folder))
    edit(folder / edit_file, where, value)
    after = code_versions(load_campaign(folder))
    return {name for name in before if after[name] != before[name]}


@pytest.mark.parametrize(
    ("file", "where", "value", "first_stage"),
    [
        ("rubric.yaml", "criteria.0.judge.squash.scale", 0.1, "judge_scores"),
        ("rubric.yaml", "criteria.0.weight", 2, "reward_batches"),
        ("campaign.yaml", "judge.model", "org/other", "judge_scores"),
        ("campaign.yaml", "training.learning_rate", 0.1, "checkpoints"),
        ("campaign.yaml", "rollouts.group_size", 8, "rollouts"),
    ],
)
def test_an_edit_changes_the_version_of_its_stage_and_of_all_that_follows(
    tiny_campaign: Path, file: str, where: str, value: object, first_stage: str
) -> None:
    follows = ROUND_STAGES[ROUND_STAGES.index(first_stage) :]
    expected = {f"round_1/{stage}" for stage in follows} | every_round(*ROUND_STAGES) - {
        f"round_1/{stage}" for stage in ROUND_STAGES
    }
    sources = {"rubric"} if file == "rubric.yaml" else set()
    assert versions_changed(tiny_campaign, file, where, value) == expected | sources


def test_a_runtime_setting_changes_no_version(tiny_campaign: Path) -> None:
    assert versions_changed(tiny_campaign, "campaign.yaml", "rollouts.runtime.batch_size", 1) == set()


def test_a_training_held_to_base_is_made_from_base_too(tiny_campaign: Path) -> None:
    assert "base" not in made_from(tiny_campaign, "round_2/checkpoints")["inputs"]
    edit(tiny_campaign / "campaign.yaml", "training.kl_beta", 0.1)
    assert made_from(tiny_campaign, "round_2/checkpoints")["inputs"]["base"] == "hash of policy"
    edit(tiny_campaign / "campaign.yaml", "training.kl_to", "start")
    assert "base" not in made_from(tiny_campaign, "round_2/checkpoints")["inputs"]
