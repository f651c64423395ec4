"""People's last word: examples of what blind pairs mean for a round, and for the promotion of the tiny campaign."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.campaign import Promotion
from rft_pipeline.labels.preferences import Preference, counted
from rft_pipeline.promotion.decide import Decision, Side, decide_promotion
from rft_pipeline.promotion.last_word import Consequence, last_word
from rft_pipeline.report.promotion_page import render_promotion
from rft_pipeline.stages.promotion import decision_of
from tests.assets.test_automation import launched, look
from tests.labels.pairs import answered, exported, taken, written
from tests.promotion.small import champion, record, to_run
from tests.promotion.test_decision import replies
from tests.runs import edit, run
from tests.upkeep.small import verified


def preferred(wins: int, losses: int, ties: int = 0, round_: int = 1) -> Preference:
    return counted(f"round {round_}", "base", {1: wins, -1: losses, 0: ties}, annotators=2)


def uneven(side: Side) -> Side:
    """Rewards 0.1 lower on every other prompt."""
    odd = pl.col("prompt_id").str.strip_prefix("p").cast(pl.Int64) % 2 == 1
    lower = pl.when(odd).then(pl.col("reward") - 0.1).otherwise("reward")
    return replace(side, rows=side.rows.with_columns(lower))


def decided(
    *rounds: Side, champion: Side | None = None, look: int = 1, preferences: Mapping[int, Preference]
) -> Decision:
    return decide_promotion(rounds, champion or replies(0, 0.4), ["polite"], Promotion(), look, preferences)


def test_a_preference_is_said_in_words_with_its_interval() -> None:
    found = preferred(27, 8, ties=8)
    assert found.said == "people preferred round 1 over base in 27 of 35 decided pairs (77 %, 61 to 88), 8 ties"
    assert found.p == pytest.approx(0.00188, abs=1e-5)
    assert preferred(0, 0, ties=1).said == "people preferred neither round 1 nor base: 1 tie"


@pytest.mark.parametrize(
    ("wins", "losses", "level", "consequence"),
    [
        (27, 8, 0.025, Consequence.CONFIRMS),
        (27, 8, 0.0005, Consequence.OPEN),  # p is 0.0019
        (20, 15, 0.025, Consequence.OPEN),
        (8, 27, 0.025, Consequence.REFUSES),
        (8, 27, 0.0005, Consequence.REFUSES),
        (0, 19, 0.025, Consequence.OPEN),
        (19, 0, 0.025, Consequence.OPEN),
    ],
)
def test_enough_decided_pairs_decide_if_the_interval_leaves_out_a_half(
    wins: int, losses: int, level: float, consequence: Consequence
) -> None:
    assert last_word(preferred(wins, losses), 20, level).consequence == consequence


def test_a_round_that_people_like_less_is_refused_whatever_the_judges_say() -> None:
    found = decided(replies(1, 0.9), preferences={1: preferred(5, 25)})
    assert found.promoted is None
    assert found.said == (
        "no round is promoted over base. Round 1: people preferred round 1 over base in 5 of 30 decided pairs (17 %, "
        "7 to 34), 0 ties: the whole interval is below 50 %, so the round is refused, whatever the judges say"
    )


def test_another_round_is_promoted_in_its_place() -> None:
    assert decided(replies(1, 0.9), replies(2, 0.5), preferences={1: preferred(5, 25)}).promoted == 2


def test_a_round_that_people_like_better_may_narrowly_miss_the_reward() -> None:
    """Differences 0.0 and 0.1 … −0.1: the mean is below 0, and the interval reaches above it."""
    missed = uneven(replies(1, 0.445))
    assert decided(missed, preferences={}).promoted is None
    found = decided(missed, preferences={1: preferred(27, 8, ties=3)})
    assert found.promoted == 1
    reward = found.rounds[0].bounds[0]
    assert reward.found is not None
    assert reward.upper is not None
    assert reward.found < 0 < reward.upper
    assert found.said.startswith("round 1 is promoted over base: reward -0.0050 ")
    assert "which people's preference outweighs; people preferred round 1 over base in 27 of 35 decided" in found.said
    assert found.said.endswith("3 ties: the whole interval is above 50 %, which confirms the round")


def test_people_do_not_outweigh_judges_who_are_sure() -> None:
    found = decided(replies(1, 0.3), preferences={1: preferred(27, 8)})
    assert found.promoted is None
    assert "reward -0.1000" in found.said
    assert "which confirms the round" in found.said


def test_people_do_not_outweigh_a_stop_a_gate_or_too_few_prompts() -> None:
    likes = {1: preferred(40, 2)}
    assert "a stopped round cannot be promoted" in decided(replies(1, 0.9, alarm="stop"), preferences=likes).said
    assert decided(replies(1, 0.9, polite=0.7), preferences=likes).promoted is None
    few = [replies(round_, 0.4 + 0.2 * round_, prompts=["p00", "p01"]) for round_ in (0, 1)]
    assert "promotion.min_prompts needs 20" in decided(few[1], champion=few[0], preferences=likes).said


def test_an_open_preference_leaves_the_decision_to_the_judges_and_says_so() -> None:
    better, worse = (decided(replies(1, reward), preferences={1: preferred(6, 4)}) for reward in (0.9, 0.3))
    assert (better.promoted, worse.promoted) == (1, None)
    for each in (better, worse):
        assert "promotion.min_decided_pairs needs 20 decided pairs, 10 more, so this does not count yet" in each.said


@pytest.fixture
def campaign(finished_copy: Path) -> Path:
    """The finished campaign, for which 6 decided pairs are enough."""
    edit(finished_copy / "campaign.yaml", "promotion.min_decided_pairs", 6)
    return finished_copy


def test_answers_decide_the_promotion_again_and_run_nothing_else(campaign: Path, tmp_path: Path) -> None:
    run(campaign, ["promotion"])
    assert to_run(campaign) == []
    before = look(None)
    export = exported()
    assert (export.of, export.against) == ("base", "round 1")
    path = written(export, tmp_path)
    answered(path, export, "start")
    taken(path)
    assert to_run(campaign) == ["tiny/promotion"]
    assert [reason for reason, _ in launched(look(before.cursor))] == ["answers to blind pairs changed"]
    again = run(campaign, ["promotion"])["promotion"]
    found = decision_of(again)
    assert found["promoted"] is None
    said = "people preferred round 1 over base in 0 of 6 decided pairs (0 %, 0 to 39), 0 ties"
    assert said in found["said"]
    assert [(each["policy"], each["over"], each["losses"]) for each in found["preferences"]] == [("round 1", "base", 6)]
    page = again.path("promotion.html").read_text(encoding="utf-8")
    assert f"P{said[1:]}." in page
    assert '<section id="preferences">' in page
    assert champion().round == 1  # a decision does not take back an earlier one
    taken(path)
    assert to_run(campaign) == []
    assert verified().findings == []


def test_answers_about_other_policies_refuse_no_round(campaign: Path, tmp_path: Path) -> None:
    export = exported(of="round-1", against="round-2")
    path = written(export, tmp_path)
    answered(path, export, "tuned")
    taken(path)
    found = decision_of(run(campaign, ["promotion"])["promotion"])
    assert found["promoted"] == 1
    assert not [bound for each in found["rounds"] for bound in each["bounds"] if "prefer" in bound["name"]]
    assert [(each["policy"], each["over"]) for each in found["preferences"]] == [("round 2", "round 1")]


def test_the_page_shows_a_round_that_people_confirmed(finished_home: Path) -> None:
    found = decision_of(record("tiny/promotion"))
    likes = preferred(27, 8, ties=8)
    share = {"mean": 27 / 35, "found": 0.61, "upper": 0.88, "needed": None, "passed": True}
    bound = {**share, "name": "people's preference", "said": f"{likes.said}: confirmed"}
    rounds = [
        {**each, "bounds": [*each["bounds"], *([bound] if each["round"] == 1 else [])]} for each in found["rounds"]
    ]
    page = render_promotion({**found, "rounds": rounds, "preferences": [likes.plain]}, "Tiny", "", "report")
    assert "People preferred round 1 over base in 27 of 35 decided pairs (77 %, 61 to 88), 8 ties: confirmed." in page
    assert "<small>61 % to 88 %</small>" in page
    assert "not below 50 %" in page
