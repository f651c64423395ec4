import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rft_pipeline.campaign import Campaign, PromptSource, Rollouts, Sampling, Training, load_campaign, read_yaml
from rft_pipeline.errors import ConfigError


def changed(folder: Path, **changes: Any) -> Path:
    path = folder / "campaign.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    for dotted, value in changes.items():
        *blocks, key = dotted.split("__")
        here = raw
        for block in blocks:
            here = here[block]
        here[key] = value
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return folder


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError, match=re.escape(str(folder))) as error:
        load_campaign(changed(folder, **changes))
    return str(error.value)


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys(item)}
    return {key for item in value for key in keys(item)} if isinstance(value, list) else set()


def test_a_campaign_is_read_with_its_rubric(tiny_campaign: Path) -> None:
    campaign = load_campaign(tiny_campaign)
    assert (campaign.name, campaign.rounds, campaign.rollouts.group_size) == ("tiny", 2, 4)
    assert campaign.rubric.names == ["polite", "relevant", "says_enough", "has_an_e"]
    assert campaign.folder == tiny_campaign
    assert campaign.anchors_path is None


def test_runtime_settings_stay_out_of_identity(tiny_campaign: Path) -> None:
    before = load_campaign(tiny_campaign)
    after = load_campaign(
        changed(
            tiny_campaign,
            rollouts__runtime={"batch_size": 1, "dtype": "bfloat16"},
            judge__runtime={"batch_size": 2},
            training__runtime={"micro_batch_size": 1},
            evaluation__runtime={"device": "cpu", "batch_size": 3},
        )
    )
    for block in ("rollouts", "judge", "training", "evaluation"):
        assert getattr(after, block) != getattr(before, block)
        assert getattr(after, block).identity == getattr(before, block).identity
    assert after.identity == before.identity
    assert "runtime" not in keys(after.identity)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Sampling(), Sampling(temperature=0.9)),
        (Training(), Training(learning_rate=2e-5)),
        (Rollouts(), Rollouts(sampling=Sampling(max_new_tokens=49))),
    ],
)
def test_settings_that_change_a_result_are_identity(before: Any, after: Any) -> None:
    assert before.identity != after.identity


def test_evaluation_samples_as_rollouts_at_a_temperature_of_its_own(tiny_campaign: Path) -> None:
    rollouts = {"top_k": 40, "max_new_tokens": 9, "max_thinking_tokens": 5}
    file = changed(tiny_campaign, rollouts__sampling=rollouts, evaluation__sampling={"max_thinking_tokens": None})
    assert load_campaign(file).evaluation.sampling == Sampling(temperature=0.7, top_k=40, max_new_tokens=9)
    file = changed(tiny_campaign, rollouts__sampling=rollouts, evaluation__sampling={"temperature": 1, "top_k": 0})
    assert load_campaign(file).evaluation.sampling == Sampling(max_new_tokens=9, max_thinking_tokens=5)


def test_an_unknown_key_is_named_with_its_file_and_the_nearest_known_one(tiny_campaign: Path) -> None:
    message = refusal(tiny_campaign, rollouts__groupsize=4)
    assert str(tiny_campaign / "campaign.yaml") in message
    assert "rollouts: unknown key 'groupsize' (did you mean 'group_size'?)" in message
    assert "allowed: prompts_per_round, group_size, " in message


def test_one_judge_under_judges_is_refused_with_the_key_that_was_meant(tiny_campaign: Path) -> None:
    message = refusal(tiny_campaign, judges={"model": "embedded"})
    assert "judges: has judges by name, and model is a key of one judge (did you mean 'judge'?)" in message


def test_an_unknown_key_at_the_top_is_named_with_those_a_user_may_set(tiny_campaign: Path) -> None:
    message = refusal(tiny_campaign, round=4)
    assert "unknown key 'round' (did you mean 'rounds'?)" in message
    assert "rubric" in message
    assert "folder" not in message.partition("allowed:")[2]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"rounds": 0}, "rounds"),
        ({"rollouts__group_size": 1}, "rollouts.group_size"),
        ({"rollouts__sampling": {"temperature": -1}}, "rollouts.sampling.temperature"),
        ({"rollouts__sampling": {"top_p": 0}}, "rollouts.sampling.top_p"),
        ({"training__learning_rate": 0}, "training.learning_rate"),
        ({"training__learning_rate": float("inf")}, "training.learning_rate"),
        ({"training__weights": "half"}, "training.weights"),
        ({"seed": -1}, "seed"),
        ({"judge__runtime": {"dtype": "float16"}}, "judge.runtime.dtype"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_key(tiny_campaign: Path, change: Any, key: str) -> None:
    message = refusal(tiny_campaign, **change)
    assert f"{tiny_campaign / 'campaign.yaml'}: {key}: " in message
    assert "(got " in message


def test_allowed_words_are_listed(tiny_campaign: Path) -> None:
    message = refusal(tiny_campaign, training__weights="half")
    assert "'full' or 'lora'" in message
    assert "'half'" in message


def test_the_name_is_the_folders_name(tiny_campaign: Path) -> None:
    assert "'other' must be the folder's name, 'tiny'" in refusal(tiny_campaign, name="other")


def test_a_missing_rubric_is_named(tiny_campaign: Path) -> None:
    assert f"{tiny_campaign / 'absent.yaml'}: no such file" in refusal(tiny_campaign, rubric="absent.yaml")


def test_a_file_that_is_not_yaml_is_named(tiny_campaign: Path) -> None:
    (tiny_campaign / "campaign.yaml").write_text("rounds: [1", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"campaign\.yaml: not YAML: line \d+, column \d+: .* opened in line 1 is not"
    ):
        load_campaign(tiny_campaign)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rollouts:\n\tgroup_size: 8\n", "line 2, column 1: a tab; indent with spaces"),
        (
            "policy:\n  system: Answer: be kind\n",
            "line 2, column 17: a second colon in one line: put the whole text in",
        ),
        ("policy:\n  model: a\n   system: x\n", "line 3, column 10: wrong indentation"),
        ("policy:\n  model: a\n system: x\n", "line 3, column 2: wrong indentation"),
        ("criteria:\n  - name: a\n   weight: 2\n", "line 3, column 4: wrong indentation"),
        ("description: 'it's good'\n", "line 1, column 18: text after a closing quote"),
        ('description: "open\nname: b\n', "the quote that was opened in line 1 is not closed"),
        ("rounds:2\nname: b\n", "line 1 has no key: write `key: value`, with a space after the colon"),
        ("name: @x\n", "line 1, column 7: a value cannot begin with @: put the whole text in quotes"),
        ("workflow: 1\nworkflow: 2\n", "line 2, column 1: the key 'workflow' is written twice, first in line 1"),
    ],
)
def test_an_error_of_yaml_says_what_to_change(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_settings_is_refused(tiny_campaign: Path) -> None:
    (tiny_campaign / "campaign.yaml").write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="contains a list; it must contain keys and values"):
        load_campaign(tiny_campaign)


def test_a_prompt_source_takes_its_format_from_the_ending(tiny_campaign: Path) -> None:
    campaign = load_campaign(tiny_campaign)
    assert campaign.prompts.train == PromptSource(source="prompts/train.jsonl")
    assert campaign.prompts.train.file_type == "jsonl"
    assert PromptSource(source="log.txt", format="messages").file_type == "jsonl"
    assert PromptSource(source="log.csv.gz", format="messages").file_type == "csv"
    assert PromptSource(source="org/set", format="sharegpt", split="test").file_type == "hub"


def test_only_our_columns_can_be_mapped(tiny_campaign: Path) -> None:
    message = refusal(tiny_campaign, prompts__train={"source": "x.csv", "columns": {"text": "body"}})
    assert "cannot map ['text']: our columns are id, prompt, messages, reference" in message


def test_the_campaign_that_comes_with_the_project_is_sound() -> None:
    folder = Path(__file__).parents[2] / "data" / "support_reply"
    if not (folder / "campaign.yaml").is_file():
        pytest.skip("no campaign.yaml there")
    campaign: Campaign = load_campaign(folder)
    assert campaign.name == "support_reply"


SERVER = {"url": "http://127.0.0.1:8000/v1"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"url": "127.0.0.1:8000"}, "url"),
        ({"url": ["http://one:8000/v1", "two:8000/v1"]}, "url"),
        ({"url": []}, "url"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"attempts": 0}, "attempts"),
        ({"api_key_env": "sk-secret-1"}, "api_key_env"),
        ({"max_calls": 0}, "max_calls"),
        ({"max_cost": -1}, "max_cost"),
        ({"prices": {"input_million": -1}}, "prices.input_million"),
    ],
)
def test_a_servers_settings_are_named_with_their_keys(tiny_campaign: Path, change: Any, key: str) -> None:
    message = refusal(tiny_campaign, judge={"model": "served:strong", "server": {**SERVER, **change}})
    assert f"{tiny_campaign / 'campaign.yaml'}: judge.server.{key}: " in message


def test_a_served_model_needs_a_server_and_a_server_a_served_model(tiny_campaign: Path) -> None:
    assert "judge: model 'served:strong' needs a `server` with its `url`" in refusal(
        tiny_campaign, judge={"model": "served:strong"}
    )
    assert "`server` is for models called 'served:NAME'; this one is 'embedded'" in refusal(
        tiny_campaign, policy={"model": "embedded", "server": SERVER}
    )


def test_max_cost_needs_prices(tiny_campaign: Path) -> None:
    message = refusal(tiny_campaign, judge={"model": "served:strong", "server": {**SERVER, "max_cost": 5}})
    assert "max_cost needs `prices` (input_million, output_million)" in message


def test_a_served_judge_cannot_read_likelihoods(tiny_campaign: Path) -> None:
    message = refusal(tiny_campaign, judge={"model": "served:strong", "server": SERVER})
    assert "criterion polite: contrast reads likelihoods or weights, but 'judge' is served" in message


def test_where_a_server_is_and_how_it_is_asked_stays_out_of_identity(tiny_campaign: Path) -> None:
    before = load_campaign(changed(tiny_campaign, policy={"model": "served:strong", "server": SERVER}))
    after = load_campaign(
        changed(tiny_campaign, policy={"model": "served:strong", "server": {"url": "https://b/v1", "attempts": 2}})
    )
    assert after.policy != before.policy
    assert after.identity == before.identity
