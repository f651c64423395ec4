"""Criteria whose judges are behind servers are judged at the same time."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.engines import ChatReply, ChatRequest
from rft_pipeline.errors import EngineError
from rft_pipeline.judges import Engines
from rft_pipeline.progress import Progress
from rft_pipeline.stages import waiting
from rft_pipeline.stages.judging import judging
from rft_pipeline.store import Table, judgements_table
from tests.engines.faulty_server import fault_of
from tests.engines.serving import Serving
from tests.judges.engines import OneEngine, Told
from tests.stages.judged import judge_rollouts

COUNT = 6
ENOUGH: dict[str, Any] = {"name": "enough", "judge": {"protocol": "rule", "rule": {"name": "length", "min_words": 4}}}


def asking(name: str, question: str = "", by: str = "judge") -> dict[str, Any]:
    judge = {"protocol": "binary", "question": question or f"Is it {name}?", "answer": "json", "by": by}
    return {"name": name, "judge": judge}


def criteria(*configs: dict[str, Any]) -> list[Criterion]:
    return [Criterion.model_validate(config) for config in configs]


PANEL = {
    "name": "good",
    "judge": {"protocol": "panel", "members": [asking("helpful")["judge"], asking("short")["judge"], ENOUGH["judge"]]},
}
SERVED_AND_RULE = criteria(asking("clear"), ENOUGH, asking("kind"), asking("polite"))


def rollouts() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "rollout_id": [f"r{n}" for n in range(COUNT)],
            "messages": json.dumps([{"role": "user", "content": "Please help."}]),
            "completion": [f"Thank you, your number {n}." for n in range(COUNT)],
            "finish_reason": "stop",
            "fields": "{}",
        }
    )


def judged(
    wanted: Sequence[Criterion],
    table: Table,
    engines: Engines,
    served: Sequence[str] = ("judge",),
    progress: Progress | None = None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    judges = {"judge": "judge-1", "local": "local-1"}
    return judge_rollouts(
        rollouts(), wanted, judges, table, engines, progress or Progress("judge_scores"), served=served
    )


class Meeting(Told):
    """Answers no criterion before `count` are asked."""

    def __init__(self, count: int) -> None:
        super().__init__(lambda text: json.dumps({"reason": "so it is", "verdict": "yes"}))
        self.barrier = threading.Barrier(count, timeout=30)
        self.threads: set[int] = set()

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        self.threads.add(threading.get_ident())
        self.barrier.wait()
        yield from super().ask(requests)


class ByName:
    """`judges.Engines` with an engine for each judge."""

    def __init__(self, **engines: Any) -> None:
        self.engines = engines

    def asker(self, by: str) -> Any:
        return self.engines[by]

    scorer = rewarder = asker


def test_served_criteria_are_asked_at_the_same_time_and_others_in_the_calling_thread(tmp_path: Path) -> None:
    served, local = Meeting(3), Meeting(1)
    wanted = [*SERVED_AND_RULE, *criteria(asking("local_one", by="local"), asking("local_two", by="local"))]
    _, made = judged(wanted, judgements_table(tmp_path), ByName(judge=served, local=local))
    assert made == dict.fromkeys([criterion.name for criterion in wanted], COUNT)
    assert len(served.threads) == 3
    assert local.threads == {threading.get_ident()}


def test_members_of_a_panel_are_asked_at_the_same_time(tmp_path: Path) -> None:
    scores, made = judged([*criteria(PANEL), *SERVED_AND_RULE], judgements_table(tmp_path), OneEngine(Meeting(5)))
    assert [made[f"good.{place}"] for place in (1, 2, 3)] == [COUNT] * 3
    assert set(scores["status"]) == {"scored"}


def test_the_cost_of_a_panel_is_that_of_its_members(server: Serving, tmp_path: Path) -> None:
    server.plan()
    engine = server.engine(prices={"input_million": 2.0, "output_million": 8.0})
    table = judgements_table(tmp_path)
    scores, _ = judged(criteria(PANEL), table, OneEngine(engine))
    assert engine.spent > 0
    assert scores["cost"].sum() == pytest.approx(engine.spent)
    of_members = table.rows().filter(pl.col("criterion") != criteria(PANEL)[0].question).collect()
    for used in ("tokens", "tokens_out"):
        assert scores[used].sum() == of_members[used].sum() > 0


def test_the_results_are_those_of_one_criterion_after_the_other(server: Serving, tmp_path: Path) -> None:
    server.plan(seed=18, share=0.6, lasting=1, kinds=("500", "empty", "filtered", "two_verdicts"))
    wanted = [*criteria(PANEL), *SERVED_AND_RULE]
    found, tables = [], []
    for served in ((), ("judge",)):
        tables.append(judgements_table(tmp_path / str(len(found))))
        found.append(judged(wanted, tables[-1], OneEngine(server.engine(attempts=1)), served))
    (after, made_after), (together, made_together) = found
    assert together.equals(after)
    assert made_together == made_after
    assert set(together["status"]) == {"scored", "unscored", "failed"}
    after_rows, rows = (table.rows().collect().sort("judgement_id") for table in tables)
    assert rows.equals(after_rows)


def test_the_calls_of_all_criteria_stay_below_the_limits_of_their_server(server: Serving, tmp_path: Path) -> None:
    server.plan(delay=0.05)
    engine = server.engine(concurrency=4, max_calls=10)
    with pytest.raises(EngineError, match="10 calls made, the most that "):
        judged(SERVED_AND_RULE, judgements_table(tmp_path), OneEngine(engine))
    assert server.seen()["most"] <= 4
    assert engine.calls == engine.answered == 10
    assert judgements_table(tmp_path).rows().collect().height == 10 + COUNT  # and the rule's


def test_what_one_call_finds_out_about_a_server_counts_for_all_criteria(server: Serving, tmp_path: Path) -> None:
    server.plan(refuses=("temperature", "seed"))
    engine = server.engine(concurrency=1)
    scores, _ = judged(SERVED_AND_RULE, judgements_table(tmp_path), OneEngine(engine))
    assert set(scores["status"]) == {"scored"}
    assert engine.without == {"temperature", "seed"}
    assert sum(map(len, server.seen()["tries"].values())) == 3 * COUNT  # refused calls are not counted there
    assert engine.asking == 0


def test_a_server_that_is_down_stops_all_criteria(server: Serving, tmp_path: Path) -> None:
    server.plan(key="another")
    engine = server.engine(concurrency=2)
    with pytest.raises(EngineError, match="answers HTTP 401"):
        judged(SERVED_AND_RULE, judgements_table(tmp_path), OneEngine(engine))
    server.plan()
    assert judged(SERVED_AND_RULE, judgements_table(tmp_path), OneEngine(engine))[1]["kind"] == COUNT


def test_if_one_criterion_fails_the_judgements_of_the_others_stay(tmp_path: Path) -> None:
    class Gone:
        control_tokens: frozenset[str] = frozenset()

        def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
            raise EngineError("the engine is gone")

    wanted = criteria(asking("broken", by="local"), asking("kind"), asking("polite"), ENOUGH)
    table = judgements_table(tmp_path)
    with pytest.raises(EngineError, match="the engine is gone"):
        judged(wanted, table, ByName(judge=Meeting(2), local=Gone()), served=("judge", "local"))
    assert table.rows().collect().height == 3 * COUNT


def test_an_error_in_the_calling_thread_waits_for_the_answers_under_way(server: Serving, tmp_path: Path) -> None:
    server.plan(delay=0.2)
    table = judgements_table(tmp_path)
    context = judging(
        rollouts(),
        SERVED_AND_RULE,
        {"judge": "judge-1"},
        table,
        OneEngine(server.engine()),
        Progress("s"),
        served=["judge"],
    )
    with pytest.raises(ZeroDivisionError), context:
        _ = 1 / 0
    assert table.rows().collect().height == 3 * COUNT


def test_closing_the_engine_ends_the_calls_of_an_interrupted_process(server: Serving, tmp_path: Path) -> None:
    server.plan(share=1, kinds=("hang",), lasting=1)
    before, engine = set(threading.enumerate()), server.engine(timeout_seconds=50)
    context = judging(
        rollouts(),
        SERVED_AND_RULE,
        {"judge": "j"},
        judgements_table(tmp_path),
        OneEngine(engine),
        Progress("s"),
        served=["judge"],
    )

    def interrupted() -> None:
        with context:
            while not server.seen()["under_way"]:
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    engine.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_criteria_with_the_same_question_are_asked_once(tmp_path: Path) -> None:
    engine = Meeting(1)
    same = criteria(asking("one", "Good?"), asking("two", "Good?"))
    _, made = judged(same, judgements_table(tmp_path), OneEngine(engine))
    assert made == {"one": COUNT, "two": 0}
    assert len(engine.asked) == COUNT


def test_the_judgements_of_each_criterion_are_counted_under_its_name(tmp_path: Path) -> None:
    progress = Progress("judge_scores")
    judged(SERVED_AND_RULE, judgements_table(tmp_path), OneEngine(Meeting(3)), progress=progress)
    assert {what: each["count"] for what, each in progress.spent.items()} == {
        f"judgements of {criterion.name}": COUNT for criterion in SERVED_AND_RULE
    }


def test_answers_are_stored_while_another_call_hangs(
    server: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SECONDS", 0.1)
    plan = server.plan(seed=1, share=0.5, kinds=("hang",), lasting=1)
    hung = sum(bool(fault_of(plan, number)[0]) for number in range(COUNT))
    assert 0 < hung < COUNT
    table, engine = judgements_table(tmp_path), server.engine(timeout_seconds=50)
    found: list[BaseException] = []

    def judge() -> None:
        try:
            judged(criteria(asking("kind")), table, OneEngine(engine))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=judge)
    thread.start()
    while table.rows().collect().height < COUNT - hung:
        assert thread.is_alive()
    engine.close()
    thread.join()
    assert isinstance(found[0], CancelledError)
