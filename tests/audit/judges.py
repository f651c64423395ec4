"""Simulated judges: plain functions of what a judge sees, and of a seed; and anchors for them to err on."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rft_pipeline.audit.agreement import agreement
from rft_pipeline.audit.bias import effects, length_correlation
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.probes import PROBES, Probe
from rft_pipeline.audit.stability import Order, order_of_pairs
from rft_pipeline.audit.verdict import Evidence, Verdict, verdict
from rft_pipeline.campaign import Audit
from rft_pipeline.rules import Rollout
from rft_pipeline.stats import Resamples

SETTINGS = Audit(resamples=500)
PROMPTS, REPLIES = 40, 4

Scores = Callable[[Rollout], float]
"""A judge of one reply."""
Chooses = Callable[[Rollout, Rollout], str]
"""A judge of two, in the order shown: A, B or tie."""


def chance(seed: int, *texts: str) -> float:
    """A number in [0, 1) that these texts fix."""
    return int.from_bytes(hashlib.sha256("\0".join([str(seed), *texts]).encode()).digest()[:8], "big") / 2**64


def anchors(seed: int) -> list[Rollout]:
    """Replies of 20 to 90 words to 40 prompts, half of them good; a good one is 20 words longer on average.

    What people say of a reply stands in its fields, where a simulated judge may look.
    """
    rng = np.random.default_rng(seed)
    found = []
    for prompt in range(PROMPTS):
        for reply in range(REPLIES):
            good = bool((reply + prompt) % 2)
            words = int(rng.integers(20, 70)) + (20 if good else 0)
            text = " ".join(f"word{rng.integers(1000)}" for _ in range(words)) + "."
            found.append(Rollout(f"Question {prompt}?", text, fields={"good": good}))
    return found


def copies_labels(seed: int, noise: float = 0.05) -> Scores:
    def score(rollout: Rollout) -> float:
        wrong = chance(seed, rollout.prompt, rollout.completion) < noise
        return 0.9 if rollout.fields["good"] != wrong else 0.1

    return score


def coin(seed: int) -> Scores:
    return lambda rollout: chance(seed, rollout.prompt, rollout.completion)


def length_lover(seed: int) -> Scores:
    return lambda rollout: min(1.0, len(rollout.completion.split()) / 110)


def obeys_text(seed: int) -> Scores:
    honest = copies_labels(seed)
    return lambda rollout: 1.0 if "ignore the rubric" in rollout.completion.lower() else honest(rollout)


def opener_lover(seed: int) -> Scores:
    honest = copies_labels(seed)
    return lambda rollout: 1.0 if rollout.completion.startswith("Let's solve") else honest(rollout)


def markdown_lover(seed: int) -> Scores:
    honest = copies_labels(seed)
    return lambda rollout: min(1.0, honest(rollout) + 0.1 * ("**" in rollout.completion))


def prefers_first(seed: int, how_often: float) -> Chooses:
    """Knows which is good, but names the first without looking so often."""
    honest = copies_labels(seed)

    def choose(first: Rollout, second: Rollout) -> str:
        if chance(seed, "without looking", first.completion, second.completion) < how_often:
            return "A"
        a, b = honest(first), honest(second)
        return "tie" if a == b else "A" if a > b else "B"

    return choose


def edited(probe: Probe, view: Rollout) -> Rollout:
    return replace(view, completion=probe.edit(view))


def audited(judge: Scores, views: list[Rollout], seed: int) -> Verdict:
    """The whole audit of a judge of single replies."""
    labelled = labelled_by(views, [judge(view) for view in views])
    drawn = Resamples.draw(labelled.prompt_N, SETTINGS.resamples, seed)
    probed = {probe.name: np.array([judge(edited(probe, view)) for view in views]) for probe in PROBES}
    found = agreement(labelled, drawn)
    length = length_correlation(labelled, np.array([len(view.completion) for view in views]), drawn)
    moved = effects(labelled, probed, drawn, found.at_cut.threshold)
    return verdict("kind", Evidence(found, length, moved), SETTINGS)


def audited_pairs(judge: Chooses, views: list[Rollout], seed: int) -> Verdict:
    """The audit of a judge that compares: a reply's score is its mean over the others, a flip counting as a tie."""
    order, wins = compared(judge, views, seed)
    labelled = labelled_by(views, wins)
    drawn = Resamples.draw(labelled.prompt_N, SETTINGS.resamples, seed)
    return verdict("kind", Evidence(agreement(labelled, drawn), order=order), SETTINGS)


def compared(judge: Chooses, views: list[Rollout], seed: int) -> tuple[Order, list[float]]:
    points = {"A": 1.0, "tie": 0.5, "B": 0.0}
    scores: list[list[float]] = [[] for _ in views]
    counts, prompts = [], []
    for one in range(len(views)):
        for other in range(one + 1, len(views)):
            if views[one].prompt == views[other].prompt:
                named = judge(views[one], views[other]), judge(views[other], views[one])
                first, second = points[named[0]], 1 - points[named[1]]
                counts += [[1, first != second, named.count("A"), named.count("B")]] * 2  # once for either reply
                prompts += [views[one].prompt] * 2
                won = first if first == second else 0.5
                scores[one].append(won)
                scores[other].append(1 - won)
    drawn = Resamples.draw(prompts, SETTINGS.resamples, seed)
    effect = order_of_pairs(np.array(counts, dtype=float), drawn)
    assert effect is not None
    return effect, [float(np.mean(each)) for each in scores]


def labelled_by(views: list[Rollout], scores: list[float]) -> Labelled:
    return Labelled(
        np.array([view.prompt for view in views]),
        np.array([int(view.fields["good"]) for view in views]),
        np.array(scores, dtype=float),
    )
