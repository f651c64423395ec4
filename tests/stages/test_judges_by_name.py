"""Several judges, groups and panels: what is asked of whom, kept under which address, and asked again when."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.progress import Progress
from rft_pipeline.store import Table, judgements_table
from tests.judges.engines import Told
from tests.judges.test_comparing import longer, ranking
from tests.stages.judged import judge_rollouts
from tests.stages.test_judge_scores import criteria, rollouts

KIND: dict[str, Any] = {"protocol": "binary", "question": "Is it kind?"}
LONG: dict[str, Any] = {"protocol": "listwise", "question": "Which is longest?"}


class Named:
    """`judges.Engines` that are all askers, by name."""

    def __init__(self, **askers: Told) -> None:
        self.askers = askers

    def asker(self, by: str) -> Told:
        return self.askers[by]

    scorer = rewarder = asker  # type: ignore[assignment]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return judgements_table(tmp_path)


def judged(
    rows: pl.DataFrame, wanted: list[Criterion], table: Table, engines: Named, judges: dict[str, str] | None = None
) -> tuple[pl.DataFrame, dict[str, int]]:
    judges = judges or {"judge": "weights-1", "judge.strong": "weights-2"}
    return judge_rollouts(rows, wanted, judges, table, engines, Progress("judge_scores"))


def criterion(name: str, **judge: Any) -> list[Criterion]:
    return criteria({"name": name, "judge": judge})


def test_a_criterion_uses_the_judge_that_it_names() -> None:
    both = criterion("kind", **KIND) + criterion("kind_too", **KIND, by="strong")
    assert both[0].fingerprint == both[1].fingerprint


def test_the_same_question_to_another_judge_is_another_judgement(table: Table) -> None:
    weak, strong = Told(lambda _: "Yes"), Told(lambda _: "No")
    both = criterion("kind", **KIND) + criterion("kind_too", **KIND, by="strong")
    scores, made = judged(rollouts("Hello."), both, table, Named(judge=weak, strong=strong))
    assert scores["score"].to_list() == [1.0, 0.0]
    assert made == {"kind": 1, "kind_too": 1}


def test_renaming_a_judge_judges_nothing_again(table: Table) -> None:
    judged(rollouts("Hello."), criterion("kind", **KIND, by="strong"), table, Named(strong=Told(lambda _: "Yes")))
    asker = Told(lambda _: "No")
    renamed = {"judge": "weights-1", "judge.best": "weights-2"}
    scores, made = judged(
        rollouts("Hello."), criterion("kind", **KIND, by="best"), table, Named(best=asker), judges=renamed
    )
    assert made == {"kind": 0}
    assert (scores["score"].to_list(), asker.asked) == ([1.0], [])


def test_failed_judgements_are_not_stored_and_are_made_again(table: Table) -> None:
    flaky = Told(lambda text: None if "Bye" in text else "Yes")
    scores, made = judged(rollouts("Hello.", "Bye."), criterion("kind", **KIND), table, Named(judge=flaky))
    assert scores.select("score", "status", "reason").rows() == [
        (1.0, "scored", ""),
        (None, "failed", "HTTP 500: out of order"),
    ]
    assert made == {"kind": 2}
    assert table.rows().collect().height == 1
    well = Told(lambda _: "No")
    scores, made = judged(rollouts("Hello.", "Bye."), criterion("kind", **KIND), table, Named(judge=well))
    assert scores["score"].to_list() == [1.0, 0.0]
    assert (made, len(well.asked)) == ({"kind": 1}, 1)


def test_a_judgement_keeps_what_it_cost(table: Table) -> None:
    scores, _ = judged(rollouts("Hello."), criterion("kind", **KIND), table, Named(judge=Told(lambda _: "Yes")))
    assert scores.select("tokens", "tokens_out", "cost", "details").rows() == [(10, 4, 0.5, None)]


def test_a_group_is_compared_once_and_another_group_is_another_question(table: Table) -> None:
    asker = Told(ranking)
    rows = rollouts("xxx", "x", "xx", "x")
    scores, made = judged(rows, criterion("long", **LONG), table, Named(judge=asker))
    assert scores["score"].to_list() == [1.0, 0.0, 0.5, 0.0]
    assert (made, len(asker.asked)) == ({"long": 3}, 1)
    assert judged(rows, criterion("long", **LONG), table, Named(judge=asker))[1] == {"long": 0}
    more = rollouts("xxx", "x", "xx", "x", "xxxx")
    scores, made = judged(more, criterion("long", **LONG), table, Named(judge=asker))
    assert scores["score"].to_list() == pytest.approx([2 / 3, 0, 1 / 3, 0, 1])
    assert made == {"long": 4}


def test_a_group_that_is_partly_known_is_judged_whole(table: Table) -> None:
    once = Told(lambda text: ranking(text))
    rows = rollouts("xxx", "x", "xx")
    judged(rows, criterion("long", **LONG), table, Named(judge=once))
    kept = table.rows().collect()
    partly = Table(f"{table.path}_partly", table.schema, "judgement_id", ["criterion"])
    partly.append(kept.head(1))
    again = Told(ranking)
    scores, made = judged(rows, criterion("long", **LONG), partly, Named(judge=again))
    assert scores["score"].to_list() == [1.0, 0.0, 0.5]
    assert made == {"long": 2}
    assert again.asked[0].messages == once.asked[0].messages
    assert partly.rows().collect().height == 3


def test_replies_to_another_prompt_are_another_group(table: Table) -> None:
    rows = pl.concat([rollouts("xxx", "x"), rollouts("xx", "xxxx", prompt="And here?")])
    asker = Told(longer)
    scores, _ = judged(rows, criterion("longer", protocol="pairwise", question="Longer?"), table, Named(judge=asker))
    assert scores["score"].to_list() == [1.0, 0.0, 0.0, 1.0]
    assert len(asker.asked) == 4


PANEL: dict[str, Any] = {"protocol": "panel", "members": [KIND, {**KIND, "by": "strong"}], "penalty": 0.5}


def test_a_panel_is_the_mean_less_the_price_of_disagreement(table: Table) -> None:
    weak, strong = Told(lambda _: "Yes"), Told(lambda text: "No" if "Bye" in text else "Yes")
    engines = Named(judge=weak, strong=strong)
    scores, made = judged(rollouts("Hello.", "Bye."), criterion("kind", **PANEL), table, engines)
    assert scores["score"].to_list() == [1.0, pytest.approx(0.5 - 0.5 * 0.5)]
    assert scores["raw"].to_list() == ["1.0000, 1.0000", "1.0000, 0.0000"]
    assert made == {"kind.1": 2, "kind.2": 2}
    assert table.rows().collect().height == 2 * 3


def test_a_panels_penalty_and_a_member_that_is_known_cost_no_call(table: Table) -> None:
    engines = Named(judge=Told(lambda _: "Yes"), strong=Told(lambda _: "No"))
    judged(rollouts("Hello."), criterion("kind", **KIND), table, engines)
    _, made = judged(rollouts("Hello."), criterion("kind", **PANEL), table, engines)
    assert made == {"kind.1": 0, "kind.2": 1}
    scores, made = judged(rollouts("Hello."), criterion("kind", **{**PANEL, "penalty": 0.0}), table, engines)
    assert (scores["score"].to_list(), made) == ([0.5], {"kind.1": 0, "kind.2": 0})


def test_a_panel_that_misses_a_member_has_no_score_and_is_judged_again(table: Table) -> None:
    engines = Named(judge=Told(lambda _: "Yes"), strong=Told(lambda _: None))
    scores, _ = judged(rollouts("Hello."), criterion("kind", **PANEL), table, engines)
    assert scores.select("score", "status", "reason").rows() == [(None, "failed", "no score from member 2")]
    well = Named(judge=Told(lambda _: "Yes"), strong=Told(lambda _: "Yes"))
    scores, made = judged(rollouts("Hello."), criterion("kind", **PANEL), table, well)
    assert (scores["score"].to_list(), made) == ([1.0], {"kind.1": 0, "kind.2": 1})


def test_members_may_differ_in_protocol(table: Table) -> None:
    rule = {"protocol": "rule", "rule": {"name": "length", "min_words": 4}}
    mixed = {"protocol": "panel", "members": [KIND, LONG, rule]}
    asker = Told(lambda text: ranking(text) if "ranking" in text else "Yes")
    scores, _ = judged(rollouts("x x", "x"), criterion("mixed", **mixed), table, Named(judge=asker))
    assert scores["raw"].to_list() == ["1.0000, 1.0000, 0.5000", "1.0000, 0.0000, 0.2500"]


def test_a_reference_is_part_of_what_a_judge_is_shown(table: Table) -> None:
    asker = Told(lambda _: "Yes")
    guided = criterion("kind", **KIND, reference=True)
    rows = rollouts("Hello.").with_columns(fields=pl.lit(json.dumps({"reference": "Hi!"})))
    assert judged(rows, guided, table, Named(judge=asker))[1] == {"kind": 1}
    other = rollouts("Hello.").with_columns(fields=pl.lit(json.dumps({"reference": "Good day!", "more": 1})))
    assert judged(other, guided, table, Named(judge=asker))[1] == {"kind": 1}
    same = rollouts("Hello.").with_columns(fields=pl.lit(json.dumps({"reference": "Hi!", "more": 2})))
    assert judged(same, guided, table, Named(judge=asker))[1] == {"kind": 0}
