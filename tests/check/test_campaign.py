"""What a check lets pass, and what it finds in files and settings."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rft_pipeline.check import LabelCounts, check_campaign
from rft_pipeline.check.result import Disagreement
from rft_pipeline.cli.show import plain_checked
from rft_pipeline.errors import DataError
from tests.check.small import ANCHORS, BAD, CLOZE, GOOD, POLITE, TRAIN, campaign, check, errors, rule, warnings

SHIPPED = Path(__file__).parents[2] / "data" / "support_reply"


def test_the_shipped_campaign_passes_without_a_warning(tmp_path: Path) -> None:
    result = check_campaign(SHIPPED, tmp_path, tmp_path)
    assert result.warnings == ()
    assert (result.train_prompts, result.eval_prompts, result.anchors) == (248, 88, 130)
    rubric = result.campaign.rubric
    assert [criterion.judge.kind for criterion in rubric.criteria[2:4]] == ["relevance", "rule: asks_for"]
    assert [criterion.gate for criterion in rubric.criteria] == [None] * 5 + [0.5]
    assert sum(rubric.weights().values()) == pytest.approx(1)
    assert result.labels["polite"] == LabelCounts(bad=58, good=72, unlabelled=0)


def test_a_check_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from rft_pipeline.check import check_campaign; "
        f"check_campaign(Path({str(SHIPPED)!r}), Path('none'), Path('none')); "
        "print([name for name in ('torch', 'transformers', 'trl', 'mlflow', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_small_campaign_passes_with_its_few_prompts_named(tmp_path: Path) -> None:
    folder = campaign(tmp_path)
    assert [warning.replace(f"{folder}/", "") for warning in check(folder).warnings] == [
        "train.jsonl: only 8 train prompts; below 32, rounds soon repeat",
        "eval.jsonl: only 8 eval prompts; below 20, intervals are too wide to detect an improvement",
    ]


def test_findings_of_settings_and_data_come_together(tmp_path: Path) -> None:
    folder = campaign(tmp_path, train=[{"prompt": 1}], settings={"training": {"batch_size": 16}})
    (folder / "anchors.jsonl").unlink()
    assert errors(folder) == [
        "campaign.yaml: training.batch_size: 16 is more than the 8 rollouts of a round (4 prompts, 2 each); "
        "allowed: 1 to 8",
        "train.jsonl: line 1: prompt: must be a text or a list of messages, is 1",
        "anchors.jsonl: no such file",
    ]


def test_an_unknown_key_names_the_known_ones(tmp_path: Path) -> None:
    [error] = errors(campaign(tmp_path, settings={"training": {"learning_rte": 1}}))
    assert error.startswith("campaign.yaml: training: unknown key 'learning_rte' (did you mean 'learning_rate'?)")


def test_all_problems_of_a_file_are_named_at_once_by_the_names_of_the_criteria(tmp_path: Path) -> None:
    criteria = [
        {"name": "kind", "weight": "2", "wieght": 3, "judge": POLITE},
        {"name": "short", "gate": 1.5, "judge": {"protocol": "rule", "rule": {"name": "lenght", "max_words": 9}}},
        {"judge": {"protocol": "contrst"}},
        {"name": "own", "judge": {"protocol": "rule", "rule": {"name": "python", "function": "test:passes"}}},
    ]
    found = [error.partition("; allowed: ")[0] for error in errors(campaign(tmp_path, criteria))]
    assert found[:-1] == [
        "rubric.yaml: criterion \"kind\": weight: '2' is a text; write a number, without quotes",
        "rubric.yaml: criterion \"kind\": unknown key 'wieght' (did you mean 'weight'?)",
        'rubric.yaml: criterion "short": gate: must be less than or equal to 1 (got 1.5)',
        "rubric.yaml: criterion \"short\": judge.rule: name: 'lenght' is unknown (did you mean 'length'?)",
        "rubric.yaml: criterion 3: name: is required",
        "rubric.yaml: criterion 3: judge: protocol: 'contrst' is unknown (did you mean 'contrast'?)",
    ]
    assert found[-1].startswith('rubric.yaml: criterion "own": judge.rule.function')
    assert "there is no test.py in the rubric's folder" in found[-1]


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"audit": {"accept": {"polit": ["length"]}}}, "the rubric has no criterion 'polit' (did you mean 'polite'?)"),
        ({"training": {"method": "gpro"}}, "'gpro' is not a training method (did you mean 'grpo'?)"),
        ({"rollouts": {"group_sizes": 4, "prompts_per_round": "4"}}, "rollouts.prompts_per_round: '4' is a text"),
        ({"policy": None}, "policy: must be a block of keys and values (got nothing)"),
        ({"owners": 3}, "owners: must be a list"),
    ],
)
def test_a_setting_that_cannot_be_is_named_in_plain_words(
    tmp_path: Path, settings: dict[str, Any], finding: str
) -> None:
    found = errors(campaign(tmp_path, [{"name": "polite", "judge": POLITE}], settings=settings))
    assert any(finding in each for each in found)
    assert not any("pydantic" in each or "Input" in each for each in found)


@pytest.mark.parametrize(
    ("criteria", "finding"),
    [
        ([{"name": "a", "weight": 0, "judge": POLITE}], "all weights are 0"),
        (
            [{"name": "a", "weight": -1, "judge": POLITE}],
            'criterion "a": weight: must be greater than or equal to 0',
        ),
        (
            [{"name": "a", "weight": float("inf"), "judge": POLITE}],
            'criterion "a": weight: must be a finite number',
        ),
        ([{"name": "a", "judge": {"protocol": "guess"}}], "protocol: 'guess' is unknown; allowed: "),
        ([{"name": "a", "judge": POLITE}, {"name": "a", "judge": CLOZE}], "criteria named twice: a"),
        ([{"name": "a", "judge": {**CLOZE, "templates": ["The tone is"]}}], "must hold {reply} exactly once"),
    ],
)
def test_a_rubric_that_cannot_be_loaded_is_refused(
    tmp_path: Path, criteria: list[dict[str, Any]], finding: str
) -> None:
    [error] = errors(campaign(tmp_path, criteria))
    assert error.startswith("rubric.yaml: ")
    assert finding in error


@pytest.mark.parametrize("name", ["campaign.yaml", "rubric.yaml"])
def test_a_missing_yaml_file_is_named(tmp_path: Path, name: str) -> None:
    folder = campaign(tmp_path)
    (folder / name).unlink()
    assert errors(folder) == [f"{name}: no such file"]


def test_a_missing_prompts_file_is_named(tmp_path: Path) -> None:
    folder = campaign(tmp_path)
    (folder / "eval.jsonl").unlink()
    assert errors(folder, DataError) == ["eval.jsonl: no such file"]


def test_ids_given_twice_are_named(tmp_path: Path) -> None:
    folder = campaign(tmp_path, train=[*TRAIN, {"id": "t3", "prompt": "Quite another text."}])
    assert errors(folder, DataError) == [
        "train.jsonl: id given more than once: t3 (lines 4, 9); each row needs its own id"
    ]


def test_the_id_of_an_earlier_anchor_is_named(tmp_path: Path) -> None:
    folder = campaign(tmp_path, anchors=[{**GOOD, "id": 1}, BAD, {**BAD, "id": "1"}])
    assert errors(folder, DataError) == [
        "anchors.jsonl: line 3: id: 1 is the id of line 1 too; each row needs its own id"
    ]


def test_rows_that_repeat_a_prompt_are_a_warning(tmp_path: Path) -> None:
    folder = campaign(tmp_path, train=[*TRAIN, {**TRAIN[2], "id": "again"}])
    assert warnings(folder) == ["train.jsonl: 1 repeated prompt (e.g. that of the ids t2, again); each counts once"]
    assert check(folder).train_prompts == 8


def test_a_round_larger_than_the_train_set_is_refused(tmp_path: Path) -> None:
    assert errors(campaign(tmp_path, settings={"rollouts": {"prompts_per_round": 9}})) == [
        "campaign.yaml: rollouts.prompts_per_round: 9 is more than the 8 different prompts of train.jsonl; "
        "allowed: 1 to 8"
    ]


def test_a_model_judge_without_anchors_is_a_warning(tmp_path: Path) -> None:
    folder = campaign(tmp_path)
    settings = yaml.safe_load((folder / "campaign.yaml").read_text(encoding="utf-8"))
    del settings["anchors"]
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    [warning] = warnings(folder)
    assert warning.startswith("campaign.yaml: anchors: none given, so the judges of polite cannot be audited")


def test_too_few_labels_for_a_verdict_are_a_warning(tmp_path: Path) -> None:
    anchors = [GOOD] * 5 + [BAD] * 2 + [{**BAD, "labels": {"polite": None}}]
    folder = campaign(tmp_path, anchors=anchors, settings={"audit": {"min_per_side": 4}})
    [warning] = warnings(folder)
    assert warning == (
        "anchors.jsonl: labels.polite: 5 good and 2 bad replies to 1 prompt are labelled; the audit gives no verdict "
        "on its judge below 4 of each and 10 prompts (audit.min_per_side, audit.min_prompts); until then, and as "
        "long as campaign.yaml has no `audit` block, it trains with its full weight"
    )
    assert check(folder).labels == {"polite": LabelCounts(bad=2, good=5, unlabelled=1)}


def test_anchors_on_which_a_rule_and_the_label_differ_are_named(tmp_path: Path) -> None:
    ban = rule("regex", pattern="money", forbid=True)
    criteria = [{"name": "polite", "judge": POLITE}, {"name": "no_money", "gate": 1, "judge": ban}]
    said = ("You get your money.", 0), ("You get it all back.", 0), ("We will look.", 1)
    rows = [
        {"id": f"a{place}", "prompt": "Why?", "completion": text, "labels": {"no_money": label}}
        for place, (text, label) in enumerate(said)
    ]
    found = check(campaign(tmp_path, criteria, anchors=[*ANCHORS, *rows]))
    assert found.otherwise == {"no_money": Disagreement(3, {"a1": (0, 1.0)})}
    assert plain_checked("small", found, None)["criteria"][1]["labelled_otherwise"] == ["a1"]


def test_labels_of_a_judge_of_the_alarms_are_allowed(tmp_path: Path) -> None:
    alarms = {"held_out": [{"name": "about_it", "judge": {"protocol": "recall"}}]}
    rows = [{**each, "labels": {**each["labels"], "about_it": 1}} for each in ANCHORS]
    found = check(campaign(tmp_path, anchors=rows, settings={"alarms": alarms}))
    assert list(found.labels) == ["polite"]
    assert plain_checked("small", found, None)["alarms"] == [{"name": "about_it", "scored_by": "recall"}]


def test_many_labels_of_few_prompts_are_too_few(tmp_path: Path) -> None:
    folder = campaign(tmp_path, anchors=[GOOD, BAD] * 20)
    [warning] = warnings(folder)
    assert "20 good and 20 bad replies to 1 prompt" in warning


def test_a_label_for_a_criterion_the_rubric_lacks_is_refused(tmp_path: Path) -> None:
    folder = campaign(tmp_path, anchors=[{**GOOD, "labels": {"witty": 1}}])
    assert errors(folder, DataError) == [
        "anchors.jsonl: line 1: labels.witty: the rubric has no such criterion; it has: polite"
    ]


@pytest.mark.parametrize(
    ("sampling", "method", "warned"),
    [
        ({"top_p": 0.9}, "grpo", "top_p 0.9 samples"),
        ({"top_p": 0.9, "top_k": 40}, "grpo", "top_p 0.9, top_k 40 samples"),
        ({"top_k": 40}, "dpo", ""),
        ({"temperature": 0.7}, "grpo", ""),
    ],
)
def test_cut_sampling_is_warned_of_where_ratios_are_learnt_from(
    tmp_path: Path, sampling: dict[str, Any], method: str, warned: str
) -> None:
    rollouts = {"prompts_per_round": 4, "group_size": 2, "sampling": sampling}
    training = {"batch_size": 4, "method": method}
    found = warnings(campaign(tmp_path, settings={"rollouts": rollouts, "training": training}))
    assert [warned in each and "biases grpo's ratios" in each for each in found] == ([True] if warned else [])


@pytest.mark.parametrize(
    ("training", "most"),
    [
        ({"method": "dpo"}, "the 4 pairs of a round (4 prompts, 1 each)"),
        ({"method": "raft"}, "the 4 examples of a round (4 prompts, 1 each)"),
        ({"method": "raft", "raft": {"best": 2}}, ""),
    ],
)
def test_a_step_of_more_examples_than_a_round_has_is_warned_of(
    tmp_path: Path, training: dict[str, Any], most: str
) -> None:
    found = warnings(campaign(tmp_path, settings={"training": {"batch_size": 8, **training}}))
    where = "campaign.yaml: training.batch_size: 8 is more than"
    assert found == ([f"{where} {most}, so that a step repeats some of them"] if most else [])


def test_a_file_to_launch_processes_with_must_be_there(tmp_path: Path) -> None:
    settings = {"training": {"batch_size": 8, "runtime": {"processes": 2, "accelerate_config": "fsdp.yaml"}}}
    (found,) = errors(campaign(tmp_path, settings=settings))
    assert "training.runtime.accelerate_config: " in found
    assert "fsdp.yaml does not exist" in found


def launched(tmp_path: Path, kind: str, **training: Any) -> Path:
    """A campaign that trains in two processes of this kind."""
    runtime = {"processes": 2, "accelerate_config": "launch.yaml"}
    folder = campaign(tmp_path, settings={"training": {"batch_size": 4, "runtime": runtime, **training}})
    (folder / "launch.yaml").write_text(f"distributed_type: {kind}\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("training", "refused"),
    [
        ({}, "grpo"),
        ({"method": "dpo", "warm_start": {}}, "sft"),
        ({"method": "raft", "warm_start": {}}, "raft and sft"),
    ],
)
def test_deepspeed_is_refused_for_methods_that_cannot_train_with_it(
    tmp_path: Path, training: dict[str, Any], refused: str
) -> None:
    found = errors(launched(tmp_path, "DEEPSPEED", **training))
    assert [each.partition(" cannot train with, because")[0] for each in found if "DeepSpeed" in each] == [
        f"campaign.yaml: training.runtime.accelerate_config: launch.yaml asks for DeepSpeed, which {refused}"
    ]


def test_fsdp_passes_and_deepspeed_passes_for_dpo(tmp_path: Path) -> None:
    for name, kind, method in (("one", "FSDP", "grpo"), ("two", "DEEPSPEED", "dpo")):
        (tmp_path / name).mkdir()
        assert check(launched(tmp_path / name, kind, method=method)).campaign.training.method == method


def test_a_file_to_launch_processes_with_is_refused_where_none_are_launched(tmp_path: Path) -> None:
    settings = {"training": {"batch_size": 8, "runtime": {"accelerate_config": "fsdp.yaml"}}}
    (found,) = errors(campaign(tmp_path, settings=settings))
    assert "accelerate_config: only used with runtime.processes above 1; set processes" in found


@pytest.mark.parametrize(("train", "warned"), [(TRAIN, True), ([{**row, "reference": "Yes."} for row in TRAIN], False)])
def test_a_warm_start_without_references_is_a_warning(tmp_path: Path, train: list[Any], warned: bool) -> None:
    folder = campaign(tmp_path, train=train, settings={"training": {"method": "sft", "batch_size": 8}})
    assert any("training.method: sft imitates references" in warning for warning in check(folder).warnings) == warned


def test_processes_that_cannot_share_a_step_are_refused(tmp_path: Path) -> None:
    settings = {"training": {"batch_size": 8, "runtime": {"processes": 3}}}
    (found,) = errors(campaign(tmp_path, settings=settings))
    assert "8 rollouts cannot be divided among 3 processes" in found


def test_too_few_held_out_prompts_for_a_promotion_are_a_warning(tmp_path: Path) -> None:
    folder = campaign(tmp_path, settings={"promotion": {"min_prompts": 9}})
    assert any(
        "promotion.min_prompts: needs 9 held-out prompts and eval.jsonl has 8" in said for said in warnings(folder)
    )


def test_the_same_fault_in_many_rows_is_shown_five_times_and_counted(tmp_path: Path) -> None:
    anchors = [{**each, "labels": {"polite": "yes"}} for each in ANCHORS[:12]]
    prompts = [{"prompt": number} for number in range(9)]
    found = errors(campaign(tmp_path, anchors=[*anchors, {"prompt": "Hi"}], train=prompts), DataError)
    assert found[0] == "train.jsonl: line 1: prompt: must be a text or a list of messages, is 0"
    assert found[4:6] == [
        "train.jsonl: line 5: prompt: must be a text or a list of messages, is 4",
        "… and 4 more like the last",
    ]
    assert [each.partition(":")[0] for each in found[6:11]] == ["anchors.jsonl"] * 5
    assert found[11] == "… and 7 more like the last"
    assert found[12].startswith("anchors.jsonl: line 13: has no completion and no labels")
    assert len(found) == 13
