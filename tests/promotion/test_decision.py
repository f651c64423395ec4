"""Which round becomes the champion: examples where all prompts differ by the same, so that bound and mean agree."""

from dataclasses import replace

import polars as pl
import pytest

from rft_pipeline.campaign import Promotion
from rft_pipeline.promotion.decide import Decision, Side, decide_promotion, why_not

PROMPTS = [f"p{number:02d}" for number in range(20)]


def replies(
    round_: int,
    reward: float,
    polite: float = 0.8,
    held_out: float | None = None,
    human: float | None = None,
    alarm: str = "ok",
    prompts: list[str] = PROMPTS,
) -> Side:
    """Two replies a prompt; rewards differ by ±0.1 within a prompt and by a little between prompts."""
    spread = [(prompt, 0.002 * place + sign) for place, prompt in enumerate(prompts) for sign in (-0.1, 0.1)]
    rows = pl.DataFrame(
        {
            "prompt_id": [prompt for prompt, _ in spread],
            "reward": [reward + add for _, add in spread],
            "scores": [{"polite": polite, "relevant": 0.5} for _ in spread],
        }
    )
    columns = {"held_out": held_out, "human": human}
    extra = [pl.lit(value).alias(name) for name, value in columns.items() if value is not None]
    name = f"round {round_}" if round_ else "base"
    return unlabelled_gates(Side(name, f"weights {round_}", rows.with_columns(extra), round_, alarm))


def unlabelled_gates(side: Side) -> Side:
    """With nothing said by people of the criterion that gates."""
    nothing = pl.struct(pl.lit(None, dtype=pl.Float64).alias("polite")).alias("human_scores")
    return replace(side, rows=side.rows.with_columns(nothing))


def by_people(side: Side, column: str, even: float, odd: float, prompts: int = 10) -> Side:
    """Labels on the first prompts, of one value on those with an even number and another on the rest."""
    number = pl.col("prompt_id").str.strip_prefix("p").cast(pl.Int64)
    value = pl.when(number % 2 == 0).then(even).otherwise(odd)
    said = pl.when(number < prompts).then(value)
    if column == "human":
        return replace(side, rows=side.rows.with_columns(said.alias("human")))
    nobody = pl.lit(None, dtype=pl.Float64).alias("human")
    return replace(side, rows=side.rows.with_columns(nobody, pl.struct(said.alias(column)).alias("human_scores")))


def decided(*rounds: Side, champion: Side | None = None, look: int = 1, **needs: float) -> Decision:
    against = champion or replies(0, 0.4)
    return decide_promotion(rounds, against, ["polite"], Promotion.model_validate(needs), look)


def test_the_best_lower_bound_is_promoted_not_the_last_round() -> None:
    found = decided(replies(1, 0.5), replies(2, 0.6), replies(3, 0.55))
    assert found.promoted == 2
    assert [each.lower for each in found.rounds] == pytest.approx([0.1, 0.2, 0.15])
    assert found.said == ("round 2 is promoted over base: reward +0.2000 (98.3 % interval +0.2000 to +0.2000), above 0")


def test_of_two_rounds_with_the_same_bound_the_earlier_is_promoted() -> None:
    assert decided(replies(1, 0.5), replies(2, 0.6), replies(3, 0.6)).promoted == 2
    assert decided(replies(3, 0.6), replies(2, 0.6), replies(1, 0.5)).promoted == 2


def test_a_bound_is_students_at_the_level_of_its_decision() -> None:
    """Differences 0.0 and 0.2, ten each: mean 0.1, standard deviation √(20 · 0.01 / 19), standard error 0.1 / √19."""
    champion = replies(0, 0.4)
    uneven = pl.when(pl.col("prompt_id").str.strip_prefix("p").cast(pl.Int64) % 2 == 0).then(0.0).otherwise(0.2)
    round_ = replies(1, 0.4)
    round_ = replace(round_, rows=round_.rows.with_columns(pl.col("reward") + uneven))
    for look, t in ((1, 2.093), (2, 2.625)):  # of 19 degrees of freedom, at 0.025 and at 0.05 / 6 = 0.00833
        found = decided(round_, champion=champion, look=look)
        assert found.rounds[0].lower == pytest.approx(0.1 - t * 0.1 / 19**0.5, abs=1e-4)
    shared = decided(round_, replace(round_, round=2, policy="weights 2"), champion=champion)
    assert shared.level == pytest.approx(0.0125)
    assert shared.rounds[0].lower == pytest.approx(0.1 - 2.4334 * 0.1 / 19**0.5, abs=1e-4)
    assert "(97.5 % interval" in shared.said
    assert (shared.look, shared.error, shared.left) == (1, 0.05, 0.025)


def test_peoples_bounds_are_at_the_level_of_the_decision_too() -> None:
    sides = by_people(replies(1, 0.6), "human", 0.5, 0.6), by_people(replies(0, 0.4), "human", 0.3, 0.3)
    second = decided(sides[0], champion=sides[1], look=2).rounds[0].bounds[0]
    # differences 0.2 and 0.3, five each: t of 9 degrees of freedom at 0.05 / 6 is 2.933
    assert second.found == pytest.approx(0.25 - 2.933 * 0.05 / 3, abs=2e-4)
    alike = [by_people(replies(round_, 0.4 + 0.2 * round_), "human", round_, round_) for round_ in (0, 1)]
    bound = decided(alike[1], champion=alike[0], look=2).rounds[0].bounds[0]
    assert bound.found == pytest.approx(1 - 2 * (1 - (0.05 / 6) ** 0.1))


def test_a_reward_within_the_margin_is_refused_with_its_shortfall() -> None:
    found = decided(replies(1, 0.43), margin=0.05)
    assert found.promoted is None
    assert found.said == (
        "no round is promoted over base. Round 1: reward +0.0300 (95 % interval +0.0300 to +0.0300): "
        "the lower bound must be above +0.05 and is 0.0200 too low"
    )


def test_a_round_as_good_as_the_champion_is_not_promoted() -> None:
    assert decided(replies(1, 0.4)).promoted is None


def test_a_gate_criterion_that_got_worse_refuses_whatever_the_reward() -> None:
    found = decided(replies(1, 0.9, polite=0.75))
    assert found.promoted is None
    (failed,) = [bound for bound in found.rounds[0].bounds if not bound.passed]
    assert (failed.name, failed.needed) == ("gate polite", -0.02)
    assert failed.found == pytest.approx(-0.05)
    assert why_not(found.rounds[0]).endswith("must be above -0.02 and is 0.0300 too low")


def test_a_gate_criterion_may_be_worse_by_less_than_its_margin() -> None:
    assert decided(replies(1, 0.9, polite=0.79)).promoted == 1


def test_the_held_out_judge_must_not_find_a_round_worse() -> None:
    champion = replies(0, 0.4, held_out=0.6)
    gamed, honest = replies(1, 0.9, held_out=0.5), replies(2, 0.5, held_out=0.6)
    found = decided(gamed, honest, champion=champion)
    assert found.promoted == 2
    assert "alarms' judge -0.1000" in why_not(found.rounds[0])


def test_a_champion_that_the_held_out_judge_never_saw_cannot_be_beaten() -> None:
    found = decided(replies(1, 0.9, held_out=0.9))
    assert found.promoted is None
    assert "scored only one side" in found.said


def test_a_stopped_round_is_not_promoted_and_a_warned_one_is() -> None:
    warned = decided(replies(1, 0.9, alarm="stop"), replies(2, 0.5, alarm="warn"))
    assert warned.promoted == 2
    assert warned.said.startswith("round 2 is promoted over base, although the alarms warn: reward +0.1000 ")
    assert "a stopped round cannot be promoted" in decided(replies(1, 0.9, alarm="stop")).said


def test_with_one_prompt_nothing_is_promoted() -> None:
    found = decided(replies(1, 0.9, prompts=["p00"]), champion=replies(0, 0.4, prompts=["p00"]))
    assert found.promoted is None
    assert found.rounds[0].lower is None
    assert "unknown, since fewer than two" in found.said


def test_a_round_with_the_champions_weights_is_left_out() -> None:
    champion = replies(2, 0.6)
    found = decided(replies(1, 0.7), replies(2, 0.6), champion=champion)
    assert [each.round for each in found.rounds] == [1]
    assert found.level == pytest.approx(0.025)  # the one round that is compared has the whole level
    assert decided(champion, champion=champion).said == "no round is promoted: all rounds have the weights of round 2"


def test_peoples_labels_correct_a_judge_that_flatters_the_round() -> None:
    flattered = replies(1, 0.6)
    assert decided(flattered).promoted == 1
    sides = by_people(flattered, "human", 0.3, 0.4), by_people(replies(0, 0.4), "human", 0.5, 0.5)
    found = decided(sides[0], champion=sides[1])
    assert found.promoted is None
    bound = found.rounds[0].bounds[0]
    assert bound.mean == pytest.approx(-0.15)
    # differences −0.2 and −0.1, five each: standard error √(10 · 0.05² / (10 · 9)), t of 9 degrees of freedom 2.262
    assert bound.found == pytest.approx(-0.15 - 2.262 * 0.05 / 3, abs=1e-4)
    assert "corrected by people's labels on 10 prompts" in found.said


def test_peoples_labels_of_a_gate_refuse_what_its_judge_lets_pass() -> None:
    sides = by_people(replies(1, 0.6), "polite", 0.3, 0.4), by_people(replies(0, 0.4), "polite", 0.5, 0.5)
    found = decided(sides[0], champion=sides[1])
    assert found.promoted is None
    assert why_not(found.rounds[0]).startswith("score of gate polite -0.1500")
    assert "corrected by people's labels on 10 prompts" in why_not(found.rounds[0])


def test_a_gate_on_which_people_see_no_difference_is_left_to_its_judge() -> None:
    sides = [by_people(replies(round_, 0.4 + 0.2 * round_), "polite", 1.0, 1.0) for round_ in (0, 1)]
    assert decided(sides[1], champion=sides[0]).promoted == 1


def test_people_who_all_say_the_same_decide_by_how_many_they_are() -> None:
    sides = [by_people(replies(round_, 0.4 + 0.2 * round_), "human", round_, round_) for round_ in (0, 1)]
    bound = decided(sides[1], champion=sides[0]).rounds[0].bounds[0]
    # none of 10 differs: a share of at most 1 − 0.025^(1/10) = 0.3085 would say otherwise, at worst −1
    assert (bound.mean, bound.upper, bound.passed) == (1.0, 1.0, True)
    assert bound.found == pytest.approx(0.6915 * 1 - 0.3085, abs=1e-4)
    assert "by people's labels on 10 prompts, which all agree" in bound.said


def test_people_who_all_see_a_small_difference_are_asked_to_label_more() -> None:
    def found(prompts: int) -> Decision:
        sides = [
            by_people(replies(round_, 0.4 + 0.2 * round_), "human", 0.3 + 0.2 * round_, 0.3 + 0.2 * round_, prompts)
            for round_ in (0, 1)
        ]
        return decided(sides[1], champion=sides[0])

    refused = found(10).rounds[0].bounds[0]
    assert refused.found == pytest.approx(0.6915 * 0.2 - 0.3085, abs=1e-4)
    assert not refused.passed
    assert "which all agree; more labels give closer bounds" in refused.said
    assert found(20).rounds[0].bounds[0].found == pytest.approx(0.2 - (1 - 0.025**0.05) * 1.2)


def test_people_who_all_find_a_gate_worse_refuse_the_round() -> None:
    sides = [by_people(replies(round_, 0.4 + 0.2 * round_), "polite", 1 - round_, 1 - round_) for round_ in (0, 1)]
    found = decided(sides[1], champion=sides[0])
    assert found.promoted is None
    assert why_not(found.rounds[0]).startswith("score of gate polite -1.0000 (95 % interval -1.0000 to -0.3830")


def test_too_few_labels_leave_the_judges_word_and_say_so() -> None:
    sides = [by_people(replies(round_, 0.4 + 0.2 * round_), "human", 0.1, 0.2, prompts=5) for round_ in (0, 1)]
    found = decided(sides[1], champion=sides[0])
    assert found.promoted == 1
    assert "by the judge alone: people labelled both sides of 5 prompts, 10 are needed" in found.said


def test_a_bound_over_too_few_prompts_promotes_nothing_and_says_how_many_there_were() -> None:
    few = [replies(round_, 0.4 + 0.2 * round_, prompts=PROMPTS[:6]) for round_ in (0, 1)]
    found = decided(few[1], champion=few[0])
    assert found.promoted is None
    assert why_not(found.rounds[0]) == (
        "held-out prompts: 6 have rewards on both sides; promotion.min_prompts needs 20, 14 more"
    )
    assert decided(few[1], champion=few[0], min_prompts=6).promoted == 1


@pytest.mark.parametrize(("column", "what"), [("held_out", "scores by the alarms' judge"), ("scores", "polite scores")])
def test_a_bound_that_rests_on_fewer_prompts_than_the_reward_is_not_trusted_either(column: str, what: str) -> None:
    sides = [replies(round_, 0.4 + 0.2 * round_, held_out=0.5) for round_ in (0, 1)]
    few = [
        replace(
            side, rows=side.rows.with_columns(pl.when(pl.col("prompt_id") < "p02").then(pl.col(column)).alias(column))
        )
        for side in sides
    ]
    assert decided(sides[1], champion=sides[0]).promoted == 1
    found = decided(few[1], champion=few[0])
    assert found.promoted is None
    assert why_not(found.rounds[0]) == (
        f"held-out prompts: 2 have {what} on both sides; promotion.min_prompts needs 20, 18 more"
    )


def test_only_prompts_with_rewards_on_both_sides_count() -> None:
    champion = replies(0, 0.4)
    unscored = champion.rows.with_columns(
        pl.when(pl.col("prompt_id") > "p00").then(pl.col("reward")).alias("reward"),
    )
    assert decided(replies(1, 0.6), champion=replace(champion, rows=unscored)).promoted is None
