"""An audit as plain data: what its files, its page and the metrics hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rft_pipeline.audit import Agreement, Noise, People, Verdict
from rft_pipeline.audit.judge import Audited, FromPeople, is_deterministic
from rft_pipeline.rewards.group_noise import JudgeNoise
from rft_pipeline.stats import Interval


def as_plain(audited: Audited) -> dict[str, Any]:
    """The verdict and the numbers behind it as plain data, as JSON holds it; null where the data cannot say."""
    found, how = audited.verdict, audited.calibration
    squashes = hasattr(audited.criterion.judge, "squash")
    return {
        "criterion": found.criterion,
        "protocol": audited.criterion.judge.protocol,
        **_weighed(found, audited.agreement),
        "faults": list(found.faults),
        "suspected": list(found.suspected),
        "reason": found.reason,
        "anchors": audited.agreement.anchors,
        "unscored_share": _known(audited.agreement.unscored_share),
        "threshold": audited.agreement.at_cut.threshold,
        "checks": {check.fault: _known(check.found) for check in found.checks},
        "calibration_error": None
        if how is None
        else {"before": how.before.calibration, "after": how.after.calibration, "measured_on": audited.calibrated_on},
        "calibration": None if how is None else how.advised,
        "squash": None if how is None or how.squash is None or not squashes else how.squash.model_dump(mode="json"),
        "retest": _retest(audited),
        "order": None
        if audited.order is None
        else {
            "pairs": audited.order.pairs,
            "flips": _known(audited.order.flips),
            "first": _known(audited.order.first),
        },
        **({} if audited.noise is None else {"noise": _noise(audited.noise)}),
        "not_measured": dict(audited.not_measured),
        "from_people": None if audited.from_people is None else _from_people(audited.from_people),
        "worst": list(audited.worst),
    }


def _weighed(found: Verdict, measured: Agreement) -> dict[str, Any]:
    return {
        "power": found.power.value,
        "weight": found.weight,
        "good": measured.good,
        "bad": measured.bad,
        "youden_j": _known(measured.at_cut.youden_j),
        "true_positives": _known(measured.at_cut.true_positives),
        "false_positives": _known(measured.at_cut.false_positives),
        "auc": _known(measured.auc),
        "cohen_kappa": _known(measured.cohen_kappa),
        "within_prompt": _known(measured.within_prompt),
    }


def _retest(audited: Audited) -> dict[str, Any] | None:
    found = audited.retest
    if found is None:
        return None
    deterministic = is_deterministic(audited.criterion)
    words = f"{found.replies} replies judged twice: mean |Δ| {found.shift.mean:.4f}, largest {found.largest:.4f}"
    return {
        "replies": found.replies,
        "shift": _known(found.shift),
        "largest": found.largest,
        "crossed": _known(found.crossed),
        "deterministic": deterministic,
        "words": f"it draws nothing at random; {words}, in batches of another order"
        if deterministic
        else f"{words}, {found.crossed.mean:.0%} on the other side of the threshold",
    }


def _noise(found: Noise) -> dict[str, Any]:
    lower, upper = (max(bound, 0.0) ** 0.5 for bound in found.variance[1:])
    bounds = "" if np.isnan(lower) else f" ({lower:.3f} to {upper:.3f})"
    of = f"{found.variance.mean**0.5:.3f}{bounds}, over {found.prompts} prompts"
    return {
        "variance": _known(found.variance),
        "flips": found.flips,
        "prompts": found.prompts,
        "words": f"standard deviation {of}"
        if found.flips is None
        else f"{found.flips:.0%} of its verdicts are flips, a standard deviation of {of}",
    }


def noises(audited: Sequence[Mapping[str, Any]]) -> dict[str, JudgeNoise]:
    """The noise of each judge, from what `as_plain` makes; only of those where it was measured."""
    told = {each["criterion"]: each["noise"] for each in audited if "noise" in each}
    return {name: JudgeNoise(each["variance"]["mean"], each["flips"] is not None) for name, each in told.items()}


def _from_people(found: FromPeople) -> dict[str, Any]:
    return {
        "measured": found.measured,
        "fitted": found.fitted,
        "before": _weighed(found.before, found.before_agreement) | {"reason": found.before.reason},
        "rollouts": {
            "good": found.agreement.good,
            "bad": found.agreement.bad,
            "cohen_kappa": _known(found.agreement.cohen_kappa),
            "auc": _known(found.agreement.auc),
            "youden_j": _known(found.agreement.at_cut.youden_j),
        },
        "people": None if found.people is None else _people(found.people),
    }


def _people(found: People) -> dict[str, Any]:
    pairs = [
        {
            "annotators": [pair.one, pair.other],
            "rollouts": pair.anchors,
            "agreement": _known(pair.agreement),
            "cohen_kappa": _known(pair.cohen_kappa),
        }
        for pair in found.pairs
        if pair.anchors
    ]
    kappa = found.cohen_kappa
    return {
        "krippendorff_alpha": _known(found.krippendorff_alpha),
        "cohen_kappa": None if np.isnan(kappa) else kappa,
        "pairs": pairs,
    }


def _known(interval: Interval) -> dict[str, float | None]:
    return {name: None if np.isnan(number) else float(number) for name, number in interval._asdict().items()}


def as_numbers(audited: Sequence[Audited]) -> dict[str, float]:
    """What is plotted over time."""
    found: dict[str, float] = {}
    for each in audited:
        name = each.verdict.criterion
        found |= {
            f"weight_{name}": each.verdict.weight,
            f"youden_j_{name}": each.agreement.at_cut.youden_j.mean,
            f"auc_{name}": each.agreement.auc.mean,
            f"kappa_{name}": each.agreement.cohen_kappa.mean,
        }
        if each.noise is not None:
            found[f"noise_{name}"] = each.noise.variance.mean
    return {name: number for name, number in found.items() if not np.isnan(number)}
