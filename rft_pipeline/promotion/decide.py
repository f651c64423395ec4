"""The decision which round, if any, becomes the champion.

Every round is compared with the champion on the same held-out prompts, paired by prompt. A round passes if the lower
bound of the reward is above a margin, neither a gated criterion nor the score of the alarms' judge is worse, enough
prompts have scores, and the alarms did not stop it. Of the rounds that pass, the one with the best lower bound of the
reward is promoted; if equal, the earlier. If people labelled held-out replies of both sides, their labels correct the
judges' differences. If people compared both sides in blind pairs, they have the last word (see `last_word`): they may
refuse a round, or confirm one whose reward or score of the alarms' judge narrowly missed its bound, that is, by an
interval that reaches above it. Gates, the number of prompts and the alarms' stop apply to a confirmed round too.

Each bound of R rounds in the k-th decision on the same held-out prompts is wrong with probability at most
error / (k(k+1)R). So the probability that any decision on them promotes a round whose true difference fails a bound is
at most `promotion.error`, for any number of rounds and cycles (see `looks`). A round must pass all its bounds, so these
need not share the level (intersection–union test, Berger 1982). A confirmation is a second way to pass: the
probability that any decision confirms a round that people do not prefer is again at most `promotion.error`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from rft_pipeline.campaign import Promotion
from rft_pipeline.labels.preferences import Preference
from rft_pipeline.promotion.last_word import Consequence, last_word
from rft_pipeline.promotion.looks import confidence, left, spent
from rft_pipeline.stats import Interval, means_by_prompt, null_if_nan, paired_bounds
from rft_pipeline.stats.ppi import prediction_powered, unanimous

WARN, STOP, NOT_WATCHED = "warn", "stop", "not watched"
REWARD, PROMPTS, HELD_OUT, ALARMS = "reward", "held-out prompts", "alarms' judge", "alarms"
PEOPLE = "people's preference"
GATE = "gate "
"""The beginning of the name of a gated criterion's bound."""
HELD, HUMAN, HUMAN_SCORES = "held_out", "human", "human_scores"
"""Optional columns of replies."""


@dataclass(frozen=True)
class Side:
    """The scored replies of one policy to the held-out prompts."""

    name: str
    """`base`, `round 2`, `the champion`."""
    policy: str
    """Content hash of the weights."""
    rows: pl.DataFrame
    """prompt_id, scores (struct by criterion), reward; optionally held_out (the score of the alarms' judge), human and
    human_scores (reward and scores by people). All in [0, 1], null if unknown."""
    round: int = 0
    alarm: str = "ok"
    """Level of the round's alarms: ok, warn or stop; not watched without alarms."""


@dataclass(frozen=True)
class Bound:
    """One requirement on a round."""

    name: str
    found: float | None
    """Lower bound of the difference to the champion, or a number of prompts; None if unknown. For people's preference,
    the lower bound of the share of decided pairs that the round won."""
    needed: float | None
    """The bound must be above this; a number of prompts must reach it. None for the alarms and people's preference."""
    passed: bool
    said: str
    """In words: what was found, and by how much it failed."""
    mean: float | None = None
    """Mean of the difference, or the share; None if unknown."""
    upper: float | None = None
    """Upper bound of the difference or share."""


@dataclass(frozen=True)
class RoundComparison:
    """One round compared with the champion."""

    round: int
    policy: str
    alarm: str
    bounds: tuple[Bound, ...]

    @property
    def passed(self) -> bool:
        return all(bound.passed for bound in self.bounds)

    @property
    def lower(self) -> float | None:
        """The reward's lower bound."""
        return self.bounds[0].found


@dataclass(frozen=True)
class Decision:
    """The decision and the comparisons behind it."""

    promoted: int | None
    """The round that becomes the champion."""
    champion: str
    """Name of the champion that the rounds were compared with."""
    champion_policy: str
    rounds: tuple[RoundComparison, ...]
    said: str
    look: int
    """Number of the decision among those on the same held-out prompts, from 1."""
    error: float
    """Upper limit of the probability that any of these decisions is wrong."""
    level: float
    """Upper limit of the probability that one bound of this decision is wrong."""
    left: float
    """Part of `error` that is left for later decisions."""


def decide_promotion(
    rounds: Sequence[Side],
    champion: Side,
    gates: Sequence[str],
    needs: Promotion,
    look: int,
    preferences: Mapping[int, Preference] | None = None,
) -> Decision:
    """Compare `rounds` with `champion`; a round with the champion's weights is left out. `look` is the number of this
    decision among those on the same held-out prompts, from 1. `preferences` are people's, by round, over the champion.
    """
    others = [each for each in rounds if each.policy != champion.policy]
    level = spent(needs.error, look) / max(len(others), 1)
    judged = (_compare(each, champion, gates, needs, level) for each in others)
    compared = tuple(_with_people(each, (preferences or {}).get(each.round), needs, level) for each in judged)
    passed = [(each.lower, -each.round, each) for each in compared if each.passed and each.lower is not None]
    best = max(passed, key=lambda each: each[:2])[2] if passed else None
    return Decision(
        promoted=None if best is None else best.round,
        champion=champion.name,
        champion_policy=champion.policy,
        rounds=compared,
        said=_promoted(best, champion) if best else _refused(compared, champion),
        look=look,
        error=needs.error,
        level=level,
        left=left(needs.error, look),
    )


def why_not(compared: RoundComparison) -> str:
    """The bounds a round failed, in words."""
    return "; ".join(bound.said for bound in compared.bounds if not bound.passed)


def _promoted(best: RoundComparison, champion: Side) -> str:
    said = [best.bounds[0].said, *(bound.said for bound in best.bounds if bound.name == PEOPLE)]
    return f"round {best.round} is promoted over {champion.name}{although(best.alarm)}: {'; '.join(said)}"


def although(alarm: str | None) -> str:
    """What follows a promotion in a sentence if the alarms of its round say otherwise."""
    return ", although the alarms warn" if alarm == WARN else ""


def _refused(compared: Sequence[RoundComparison], champion: Side) -> str:
    if not compared:
        return f"no round is promoted: all rounds have the weights of {champion.name}"
    return f"no round is promoted over {champion.name}. " + ". ".join(
        f"Round {each.round}: {_why_refused(each)}" for each in compared
    )


def _why_refused(compared: RoundComparison) -> str:
    """The failed bounds, and people's preference if it did not refuse the round."""
    said = [why_not(compared), *(bound.said for bound in compared.bounds if bound.name == PEOPLE and bound.passed)]
    return "; ".join(said)


def _with_people(
    compared: RoundComparison, preference: Preference | None, needs: Promotion, level: float
) -> RoundComparison:
    """Adds people's last word, if they compared the round with the champion."""
    if preference is None:
        return compared
    word = last_word(preference, needs.min_decided_pairs, level)
    bounds = [_confirmed(each) if word.consequence == Consequence.CONFIRMS else each for each in compared.bounds]
    share = [null_if_nan(value) for value in preference.share]
    passed = word.consequence != Consequence.REFUSES
    bounds.append(Bound(PEOPLE, share[1], None, passed, word.said, mean=share[0], upper=share[2]))
    return replace(compared, bounds=tuple(bounds))


def _confirmed(bound: Bound) -> Bound:
    """The bound of a round that people prefer: the reward's and the alarms' judge's need not be reached if the
    interval reaches above them."""
    if bound.passed or bound.name not in (REWARD, HELD_OUT) or bound.upper is None or bound.needed is None:
        return bound
    if bound.upper <= bound.needed:
        return bound
    return replace(bound, passed=True, said=f"{bound.said}, which people's preference outweighs")


def _compare(replies: Side, champion: Side, gates: Sequence[str], needs: Promotion, level: float) -> RoundComparison:
    def differ(what: pl.Expr) -> Interval:
        ours, theirs = (means_by_prompt(each.rows, what) for each in (replies, champion))
        return paired_bounds(ours, theirs, level)

    def corrected(judge: pl.Expr, people: pl.Expr, *, even_is_fine: bool = False) -> tuple[Interval, str]:
        if any(HUMAN not in each.rows.columns for each in (replies, champion)):
            return differ(judge), ""
        found = _by_people(replies.rows, champion.rows, judge, people, needs.min_labelled_prompts, even_is_fine, level)
        return (differ(judge), found) if isinstance(found, str) else found

    reward, how = corrected(pl.col("reward"), pl.col(HUMAN))
    asked = [HELD in each.rows.columns for each in (replies, champion)]
    scored = {"rewards": pl.col("reward")}
    scored |= {f"{name} scores": pl.col("scores").struct.field(name) for name in gates}
    scored |= {"scores by the alarms' judge": pl.col(HELD)} if all(asked) else {}
    bounds = [_bound(REWARD, reward, needs.margin, level, how), _enough(replies, champion, scored, needs.min_prompts)]
    for name in gates:
        scores = (pl.col(column).struct.field(name) for column in ("scores", HUMAN_SCORES))
        gate, how = corrected(*scores, even_is_fine=True)
        bounds.append(_bound(f"{GATE}{name}", gate, -needs.gate_margin, level, how))
    if all(asked):
        bounds.append(_bound(HELD_OUT, differ(pl.col(HELD)), -needs.held_out_margin, level))
    elif any(asked):
        said = f"{HELD_OUT}: it scored only one side, so the difference is unknown"
        bounds.append(Bound(HELD_OUT, None, -needs.held_out_margin, passed=False, said=said))
    stopped = replies.alarm == STOP
    said = f"{ALARMS}: {replies.alarm}" + ("; a stopped round cannot be promoted" if stopped else "")
    bounds.append(Bound(ALARMS, None, None, not stopped, said))
    return RoundComparison(replies.round, replies.policy, replies.alarm, tuple(bounds))


def _enough(replies: Side, champion: Side, scored: Mapping[str, pl.Expr], least: int) -> Bound:
    """Whether enough prompts have every kind of score on both sides; reports the rarest kind."""
    sides = {
        name: [means_by_prompt(each.rows, what).keys() for each in (replies, champion)] for name, what in scored.items()
    }
    counts = {name: len(ours & theirs) for name, (ours, theirs) in sides.items()}
    rarest, count = min(counts.items(), key=lambda each: each[1])
    said = f"{PROMPTS}: {count} have {rarest} on both sides"
    if count < least:
        said += f"; promotion.min_prompts needs {least}, {least - count} more"
    return Bound(PROMPTS, float(count), float(least), count >= least, said)


def _bound(name: str, difference: Interval, above: float, level: float, how: str = "") -> Bound:
    found = null_if_nan(difference.lower95)
    if found is None:
        said = f"{name}: unknown, since fewer than two prompts have scores on both sides"
        return Bound(name, None, above, passed=False, said=said)
    what = f"score of {name}" if name.startswith(GATE) else name
    said = (
        f"{what} {difference.mean:+.4f} ({confidence(level)} interval {found:+.4f} to {difference.upper95:+.4f}{how})"
    )
    passed, needed = found > above, f"{above:+g}" if above else "0"
    short = f": the lower bound must be above {needed} and is {above - found:.4f} too low"
    said += f", above {needed}" if passed else short
    return Bound(name, found, above, passed, said, difference.mean, difference.upper95)


def _by_people(
    ours: pl.DataFrame,
    theirs: pl.DataFrame,
    judge: pl.Expr,
    people: pl.Expr,
    least: int,
    even_is_fine: bool,
    level: float,
) -> tuple[Interval, str] | str:
    """The difference corrected by people's labels, and a note on how; only a note (perhaps empty) if the judge decides
    alone: people labelled both sides of fewer than `least` prompts, or they see no difference and `even_is_fine`.

    The unit is the prompt: the judge's difference, and people's if they labelled both sides. The labelled prompts are
    assumed to be a uniform random sample.
    """
    judges, humans = ([means_by_prompt(rows, what) for rows in (ours, theirs)] for what in (judge, people))
    prompts = sorted(judges[0].keys() & judges[1].keys())
    judge_K, human_K = (np.array([_difference(pair, prompt) for prompt in prompts]) for pair in (judges, humans))
    labelled = int((~np.isnan(human_K)).sum())
    if labelled < least:
        few = f", by the judge alone: people labelled both sides of {labelled} prompts, {least} are needed"
        return few if labelled else ""
    found = prediction_powered(judge_K, human_K, np.ones(len(prompts)), np.array(prompts), level)
    if not math.isnan(found.powered.lower95):
        return found.powered, f", corrected by people's labels on {labelled} prompts"
    if even_is_fine and found.human.mean == 0:
        return ""
    note = f", by people's labels on {labelled} prompts, which all agree; more labels give closer bounds"
    return unanimous(found.human.mean, labelled, -1.0, 1.0, level), note


def _difference(pair: Sequence[Mapping[str, float]], prompt: str) -> float:
    return pair[0].get(prompt, math.nan) - pair[1].get(prompt, math.nan)
