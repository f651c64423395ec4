"""Traces of verifiers are judged and trained on: their own tokens and log-probs, without what an environment wrote."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.check.campaign import check_campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home
from rft_pipeline.trainers.methods import METHODS
from rft_pipeline.upkeep.verify import verify
from tests.prompts.small import write_logs
from tests.runs import edit, made, run
from tests.tiny_model import write_tiny_tokenizer

SOURCES = ("prompts", "rubric", "policy", "labels")
ROUND = ("rollouts", "judge_scores", "reward_batches", "checkpoints")
SYSTEM = "You are a support agent."
TOOL = "The lamp is late."
FIRST, LAST = "Please send the order number.", "We are very sorry about the late lamp."


def node(role: str, content: str | None, parent: int | None, **more: Any) -> dict[str, Any]:
    return {"parent": parent, "message": {"role": role, "content": content}, "token_ids": [], "mask": [], **more}


def trace(name: str, topic: str, last: str, score: float, tokenizer: Any = None) -> dict[str, Any]:
    """A trace with a tool's answer in its middle; with the tokens of the tokenizer, if one is given."""
    texts = [
        ("system", SYSTEM, f"<|im_start|>system\n{SYSTEM}<|im_end|>\n", ""),
        ("user", f"Please help with the {topic}.", f"<|im_start|>user\nPlease help with the {topic}.<|im_end|>\n", ""),
        ("assistant", FIRST, "<|im_start|>assistant\n", f"{FIRST}<|im_end|>"),
        ("tool", TOOL, f"\n<|im_start|>tool\n{TOOL}<|im_end|>\n", ""),
        ("assistant", last, "<|im_start|>assistant\n", f"{last}<|im_end|>"),
    ]
    nodes = []
    for place, (role, content, given, sampled) in enumerate(texts):
        each = node(role, content, place - 1 if place else None, **({"sampled": True} if sampled else {}))
        if tokenizer is not None:
            before, own = (tokenizer.encode(text, add_special_tokens=False) for text in (given, sampled))
            each |= {"token_ids": before + own, "mask": [False] * len(before) + [True] * len(own)}
            each["logprobs"] = [-0.5] * len(own)
        nodes.append(each)
    rewards = {"solved": {"score": score, "weight": 1.0}}
    return {
        "id": name,
        "task": {"type": "T", "data": {"answer": topic}},
        "nodes": nodes,
        "rewards": rewards,
        "ok": True,
    }


def episodes(tokenizer: Any, topics: tuple[str, ...] = ("lamp", "chair")) -> list[dict[str, Any]]:
    """Two traces of each topic, of which the second was solved."""
    found = []
    for topic in topics:
        for number, last in enumerate(("No.", LAST)):
            one = trace(f"{topic}-{number}", topic, last, float(number), tokenizer)
            found.append({"id": f"e-{topic}-{number}", "task": one["task"], "traces": [one], "ok": True})
    return found


@pytest.fixture
def replayed(tiny_campaign: Path, tmp_path: Path) -> Path:
    """The tiny campaign in one round, whose train prompts and rollouts are those of a file of traces."""
    tokenizer = write_tiny_tokenizer(tmp_path)
    write_logs(tiny_campaign / "traces.jsonl", episodes(tokenizer))
    page = (Path(__file__).parents[2] / "docs" / "your-campaign.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(page.partition("## Replaying rollouts")[2].split("```")[1].removeprefix("yaml"))
    for where, value in {
        "rounds": shown["rounds"],
        "prompts.train": shown["prompts"]["train"],
        "rollouts.replay": shown["rollouts"]["replay"],
        "training.steps_per_generation": shown["training"]["steps_per_generation"],
        "training.batch_size": 4,
    }.items():
        edit(tiny_campaign / "campaign.yaml", where, value)
    solved = {"name": "python", "function": "own:solved"}
    (tiny_campaign / "own.py").write_text(
        "def solved(rollout):\n    return rollout.fields['rewards']['solved']\n", encoding="utf-8"
    )
    edit(tiny_campaign / "rubric.yaml", "criteria.3", {"name": "solved", "judge": {"protocol": "rule", "rule": solved}})
    return tiny_campaign


def stored(folder: Path, stage: str) -> pl.DataFrame:
    (record,) = run(folder, [f"round_1/{stage}"]).values()
    return pl.read_parquet(record.path(f"{stage}.parquet"), glob=False)


def test_traces_are_judged_and_trained_on_with_their_own_tokens(replayed: Path) -> None:
    records = run(replayed)
    rows = stored(replayed, "rollouts")
    assert rows.height == 4
    assert records["round_1/rollouts"].rows == {
        "prompts": 2, "rollouts": 4, "left_out": 0, "tokenized_here": 0, "without_logprobs": 0,
    }  # fmt: skip
    row = rows.to_dicts()[1]
    assert row["completion"] == f"assistant: {FIRST}\ntool: {TOOL}\nassistant: {LAST}"
    tokenizer = write_tiny_tokenizer(replayed / "t")
    sampled = [token for i, token in enumerate(row["tokens"]) if i not in row["environment"]]
    assert tokenizer.decode(sampled) == f"{FIRST}<|im_end|>{LAST}<|im_end|>"
    assert TOOL in tokenizer.decode([row["tokens"][i] for i in row["environment"]])
    assert {row["old_logprobs"][i] for i in row["environment"]} == {0.0}
    assert sum(row["old_logprobs"]) == pytest.approx(-0.5 * len(sampled))

    scores = stored(replayed, "judge_scores").filter(criterion="solved")
    assert scores["score"].to_list() == [0.0, 1.0] * 2
    batch = stored(replayed, "reward_batches")
    campaign = load_campaign(replayed)
    own = {each["rollout_id"]: each for each in rows.to_dicts()}
    for method in ("grpo", "raft"):
        trained = METHODS[method].rows(batch, campaign.training, campaign.rubric.weights(), 7)
        assert len(trained) == {"grpo": 4, "raft": 2}[method]
        for each in trained:
            assert each.environment == own[each.rollout_id]["environment"]
            assert each.counted == len(each.tokens) - len(each.environment)
            assert method == "raft" or each.old_logprobs == own[each.rollout_id]["old_logprobs"]
    assert records["round_1/checkpoints"].rows["steps"] == 1
    assert not made(run(replayed))
    assert not verify(Home.find().store, None, lambda each, what: each).findings


def test_traces_without_tokens_are_tokenized_by_the_chat_template(replayed: Path, tmp_path: Path) -> None:
    run(replayed, ["policy", "prompts"])
    with_ids = stored(replayed, "rollouts")
    write_logs(replayed / "traces.jsonl", episodes(None))
    record = run(replayed, ["prompts", "round_1/rollouts"])["round_1/rollouts"]
    assert (record.rows["tokenized_here"], record.rows["without_logprobs"]) == (4, 4)
    rows = stored(replayed, "rollouts")
    for name in ("prompt_tokens", "tokens", "environment", "completion"):
        assert rows[name].to_list() == with_ids[name].to_list(), name


def test_a_round_that_is_replayed_from_its_own_rollouts_ends_with_the_same_weights(tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "rounds", 1)
    records = run(tiny_campaign, [*SOURCES, *(f"round_1/{stage}" for stage in ROUND)])
    traces = []
    for row in stored(tiny_campaign, "rollouts").iter_rows(named=True):
        asked, replied = row["prompt_tokens"], row["tokens"]
        (message,) = json.loads(row["messages"])
        nodes = [
            node("user", message["content"], None, token_ids=asked, mask=[False] * len(asked)),
            node("assistant", row["completion"], 0, token_ids=replied, mask=[True] * len(replied), sampled=True),
        ]
        calls = [{"node": 1, "finish_reason": row["finish_reason"]}]
        traces.append({"id": row["rollout_id"], "task": {"data": {}}, "nodes": nodes, "calls": calls, "ok": True})
    write_logs(tiny_campaign / "traces.jsonl", traces)
    edit(tiny_campaign / "campaign.yaml", "rollouts.replay", "traces.jsonl")
    again = run(tiny_campaign, [f"round_1/{stage}" for stage in ROUND])
    assert again["round_1/rollouts"].rows["without_logprobs"] == 16
    assert again["round_1/checkpoints"].fingerprint != records["round_1/checkpoints"].fingerprint
    assert again["round_1/checkpoints"].content_hash == records["round_1/checkpoints"].content_hash


def test_check_says_what_is_replayed_and_what_is_left_out(replayed: Path, tmp_path: Path) -> None:
    tokenizer = write_tiny_tokenizer(tmp_path)
    found = episodes(tokenizer)
    found[0]["traces"].append({**found[0]["traces"][0], "id": "judge", "agent": {"trainable": False}})
    found[1]["traces"].append({**found[1]["traces"][0], "id": "gone", "ok": False})
    nodes = found[2]["traces"][0]["nodes"]
    with_tool = [*nodes[:2], {**node("tool", "x", 1)}, {**nodes[2], "parent": 2}]
    found[2]["traces"].append({**found[2]["traces"][0], "id": "asked by a tool", "nodes": with_tool})
    write_logs(replayed / "traces.jsonl", found)
    checked = check_campaign(replayed, Home.find().models, Home.find().store)
    assert not any("repeated prompt" in warning for warning in checked.warnings)
    assert checked.formats["replay"] == (
        "4 rollouts of 2 train prompts, 4 with token ids, 1 of agents that are not trained left out, "
        "1 failed left out, 1 whose prompt cannot be used left out"
    )


def test_settings_that_cannot_replay_are_named_together(replayed: Path) -> None:
    edit(replayed / "campaign.yaml", "rounds", 2)
    edit(replayed / "campaign.yaml", "training.steps_per_generation", 1)
    with pytest.raises(ConfigError, match=r"replay: .* set rounds: 1, training.steps_per_generation: null"):
        load_campaign(replayed)


def test_tokens_of_another_tokenizer_are_not_taken(replayed: Path, tmp_path: Path) -> None:
    tokenizer = write_tiny_tokenizer(tmp_path)
    found = episodes(tokenizer)
    for episode in found:
        for each in episode["traces"][0]["nodes"]:
            each["token_ids"] = [(token + 7) % 400 for token in each["token_ids"]]
    write_logs(replayed / "traces.jsonl", found)
    run(replayed, ["policy", "prompts"])
    rows = stored(replayed, "rollouts")
    assert tokenizer.decode(rows["prompt_tokens"][0]).startswith("<|im_start|>system\nYou are a support agent.")
    assert rows["old_logprobs"].null_count() == 4
    assert json.loads(rows["fields"][0])["trace"] == "lamp-0"
