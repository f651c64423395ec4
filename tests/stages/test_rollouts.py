import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import Sampling
from rft_pipeline.campaign.addresses import choose_prompts, rollout_addresses, sampling_fingerprint
from rft_pipeline.engines import Completion, GenerateRequest, Generator
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import EngineError
from rft_pipeline.progress import Progress
from rft_pipeline.stages.sampling import conversation, sample_rollouts
from rft_pipeline.store import Table, rollouts_table
from rft_pipeline.store.rows import ROLLOUTS

SAMPLING = Sampling(max_new_tokens=6)
SYSTEM = "You are a support agent."


class Counting:
    """Passes requests on to a real engine, writes them down, and fails after `batches` batches."""

    def __init__(self, engine: Generator, batches: int | None = None) -> None:
        self.engine = engine
        self.batches = batches
        self.asked: list[GenerateRequest] = []

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        self.asked += requests
        for count, batch in enumerate(self.engine.generate(requests, sampling)):
            if count == self.batches:
                raise EngineError("the engine is gone")
            yield batch


def prompts(*names: str) -> pl.DataFrame:
    messages = [json.dumps([{"role": "user", "content": f"Please help with the {name}."}]) for name in names]
    return pl.DataFrame({"prompt_id": list(names), "messages": messages})


def sample(
    engine: Counting, table: Table, wanted: pl.DataFrame, policy: str = "policy-1", group_size: int = 3, seed: int = 7
) -> tuple[pl.DataFrame, int]:
    progress = Progress("rollouts")
    return sample_rollouts(wanted, policy, group_size, SAMPLING, SYSTEM, seed, table, lambda: engine, progress)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return rollouts_table(tmp_path)


@pytest.fixture
def engine(tiny_engine: TransformersEngine) -> Counting:
    return Counting(tiny_engine)


def test_every_prompt_gets_its_group_in_order(engine: Counting, table: Table) -> None:
    rows, made = sample(engine, table, prompts("lamp", "desk"))
    assert (rows.height, made) == (6, 6)
    assert rows["prompt_id"].to_list() == ["lamp"] * 3 + ["desk"] * 3
    assert rows["sample_index"].to_list() == [0, 1, 2, 0, 1, 2]
    assert rows.schema == ROLLOUTS
    assert len({tuple(tokens) for tokens in rows["tokens"]}) == 6


def test_what_is_stored_is_what_the_engine_drew(
    engine: Counting, table: Table, tiny_engine: TransformersEngine
) -> None:
    rows, _ = sample(engine, table, prompts("lamp"))
    drawn = {done.request_id: done for batch in tiny_engine.generate(engine.asked, SAMPLING) for done in batch}
    for row in rows.iter_rows(named=True):
        done = drawn[row["rollout_id"]]
        assert (row["tokens"], row["prompt_tokens"]) == (done.tokens_T, done.prompt_tokens)
        assert row["logprobs"] == pytest.approx(done.logprobs_T, abs=1e-5)
        assert (row["completion"], row["finish_reason"]) == (done.text, done.finish_reason)


def test_the_policy_sees_the_system_message_and_the_prompt(engine: Counting, table: Table) -> None:
    sample(engine, table, prompts("lamp"))
    assert {each.messages for each in engine.asked} == {
        (("system", SYSTEM), ("user", "Please help with the lamp.")),
    }


def test_nothing_is_sampled_twice(engine: Counting, table: Table) -> None:
    first, _ = sample(engine, table, prompts("lamp", "desk"))
    engine.asked.clear()

    def never() -> Generator:
        raise AssertionError("no engine is needed")

    again, made = sample_rollouts(
        prompts("lamp", "desk"), "policy-1", 3, SAMPLING, SYSTEM, 7, table, never, Progress("rollouts")
    )
    assert made == 0
    assert again.equals(first)


def test_a_new_prompt_or_a_larger_group_samples_only_what_is_missing(engine: Counting, table: Table) -> None:
    sample(engine, table, prompts("lamp", "desk"))
    assert sample(engine, table, prompts("lamp", "desk", "chair"))[1] == 3
    assert sample(engine, table, prompts("lamp", "desk"), group_size=4)[1] == 2


def test_another_policy_or_seed_samples_again(engine: Counting, table: Table) -> None:
    first, _ = sample(engine, table, prompts("lamp"))
    assert sample(engine, table, prompts("lamp"), policy="policy-2")[1] == 3
    other, made = sample(engine, table, prompts("lamp"), seed=8)
    assert made == 3
    assert other["tokens"].to_list() != first["tokens"].to_list()


def test_a_killed_run_resumes_where_it_stopped(table: Table, tiny_engine: TransformersEngine) -> None:
    wanted = prompts("lamp", "desk", "chair", "table")
    with pytest.raises(EngineError, match="the engine is gone"):
        sample(Counting(tiny_engine, batches=2), table, wanted)
    kept = table.rows().collect()
    assert kept.height == 2 * tiny_engine.batch_size == 8
    engine = Counting(tiny_engine)
    rows, made = sample(engine, table, wanted)
    assert (rows.height, made, len(engine.asked)) == (12, 4, 4)
    assert not {each.request_id for each in engine.asked} & set(kept["rollout_id"])


def test_a_run_that_was_killed_ends_with_the_rollouts_of_one_that_was_not(
    tmp_path: Path, tiny_engine: TransformersEngine
) -> None:
    wanted = prompts("lamp", "desk", "chair")
    whole, _ = sample(Counting(tiny_engine), rollouts_table(tmp_path / "whole"), wanted)
    table = rollouts_table(tmp_path / "killed")
    with pytest.raises(EngineError):
        sample(Counting(tiny_engine, batches=1), table, wanted)
    resumed, _ = sample(Counting(tiny_engine), table, wanted)
    assert resumed.drop("logprobs").equals(whole.drop("logprobs"))


def test_the_progress_counts_what_is_made(engine: Counting, table: Table) -> None:
    progress = Progress("rollouts")
    sample_rollouts(prompts("lamp"), "p", 3, SAMPLING, None, 7, table, lambda: engine, progress)
    assert (progress.report().what, progress.report().done, progress.report().total) == ("rollouts", 3, 3)


def test_a_prompts_own_system_message_stays() -> None:
    own = json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}])
    assert conversation(own, SYSTEM) == (("system", "Be brief."), ("user", "Hello."))
    plain = json.dumps([{"role": "user", "content": "Hello."}])
    assert conversation(plain, SYSTEM) == (("system", SYSTEM), ("user", "Hello."))
    assert conversation(plain, None) == (("user", "Hello."),)


def test_each_round_has_its_own_choice_of_prompts_and_keeps_it() -> None:
    pool = prompts(*(f"p{i}" for i in range(40)))
    first = choose_prompts(pool, 10, seed=7, round_=1)["prompt_id"].to_list()
    assert first == choose_prompts(pool.sort("prompt_id", descending=True), 10, seed=7, round_=1)["prompt_id"].to_list()
    assert set(first) != set(choose_prompts(pool, 10, seed=7, round_=2)["prompt_id"])
    assert set(first) != set(choose_prompts(pool, 10, seed=8, round_=1)["prompt_id"])


def test_a_prompt_more_or_less_changes_a_rounds_choice_by_one() -> None:
    pool = prompts(*(f"p{i}" for i in range(40)))
    first = choose_prompts(pool, 10, seed=7, round_=1)["prompt_id"].to_list()
    without = choose_prompts(pool.filter(pl.col("prompt_id") != first[3]), 10, seed=7, round_=1)["prompt_id"].to_list()
    assert without[:9] == [*first[:3], *first[4:]]


def test_fewer_prompts_than_a_round_wants_are_all_taken() -> None:
    assert choose_prompts(prompts("a", "b"), 10, seed=7, round_=1).height == 2


def test_an_address_is_known_before_anything_is_sampled() -> None:
    sampling = sampling_fingerprint(SAMPLING, SYSTEM, 7)
    addresses = rollout_addresses(prompts("lamp", "desk"), "policy-1", sampling, 2)
    assert addresses.height == addresses["rollout_id"].n_unique() == 4
    assert (
        rollout_addresses(prompts("desk"), "policy-1", sampling, 2)["rollout_id"].to_list()
        == (addresses["rollout_id"].to_list()[2:])
    )
    assert sampling != sampling_fingerprint(SAMPLING, None, 7) != sampling_fingerprint(SAMPLING, None, 8)


def test_a_system_text_is_put_in_front_of_the_next_user_turn_if_the_campaign_says_so() -> None:
    def folded(*turns: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        messages = json.dumps([{"role": role, "content": content} for role, content in turns])
        return conversation(messages, SYSTEM, "user_turn")

    later = (("assistant", "Yes?"), ("user", "Bye."))
    assert folded(("user", "Hello."), *later) == (("user", f"{SYSTEM}\n\nHello."), *later)
    own = ("system", "Be brief.")
    assert folded(own, ("user", "Hello."), *later) == (("user", "Be brief.\n\nHello."), *later)
    assert folded(own, ("user", "Hello."), ("system", "Now."), *later)[1:] == (later[0], ("user", "Now.\n\nBye."))


def test_the_place_of_the_system_text_is_part_of_a_rollouts_address() -> None:
    assert sampling_fingerprint(SAMPLING, SYSTEM, 7, "user_turn") != sampling_fingerprint(SAMPLING, SYSTEM, 7)
