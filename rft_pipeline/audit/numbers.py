"""An audit as plain data, for its files, its page and the metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rft_pipeline.audit.agreement import Agreement
from rft_pipeline.audit.annotators import People
from rft_pipeline.audit.criterion import CriterionAudit, FromPeople
from rft_pipeline.audit.measurable import is_deterministic
from rft_pipeline.audit.noise import Noise
from rft_pipeline.audit.verdict import Verdict
from rft_pipeline.judges.settings import JudgeSettings
from rft_pipeline.rewards.group_noise import JudgeNoise
from rft_pipeline.stats import null_if_nan, plain


def as_plain(audited: CriterionAudit) -> dict[str, Any]:
    """The verdict and its numbers as JSON holds them; null where a number is unknown."""
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
        "unscored_share": plain(audited.agreement.unscored_share),
        "threshold": audited.agreement.at_cut.threshold,
        "checks": {check.fault: plain(check.found) for check in found.checks},
        "calibration_error": None
        if how is None
        else {"before": how.before, "after": how.after, "measured_on": audited.calibrated_on},
        "calibration": None if how is None else how.advised,
        "squash": None if how is None or how.squash is None or not squashes else how.squash.model_dump(mode="json"),
        "retest": _retest(audited),
        "order": plain(audited.order),
        **({} if audited.noise is None else {"noise": _noise(audited.noise)}),
        "not_measured": dict(audited.not_measured),
        "from_people": None if audited.from_people is None else _from_people(audited.from_people),
        "worst": list(audited.worst),
    }


def _weighed(found: Verdict, measured: Agreement) -> dict[str, Any]:
    return {"power": found.power.value, "weight": found.weight, **_measured(measured)}


def _measured(found: Agreement) -> dict[str, Any]:
    at_cut = {name: plain(getattr(found.at_cut, name)) for name in ("youden_j", "true_positives", "false_positives")}
    others = {name: plain(getattr(found, name)) for name in ("good", "bad", "auc", "cohen_kappa", "within_prompt")}
    return {**at_cut, **others}


def _retest(audited: CriterionAudit) -> dict[str, Any] | None:
    found = audited.retest
    if found is None:
        return None
    deterministic = is_deterministic(audited.criterion)
    apart = f"differ by {found.shift.mean:.4f} on average and {found.largest:.4f} at most"
    words = f"the scores of {found.replies} replies {apart}"
    return {
        **plain(found),
        "deterministic": deterministic,
        "words": f"{words}; the judge does not sample, but other batches round differently"
        if deterministic
        else f"{words}; {found.crossed.mean:.0%} of the replies pass only one of the two times",
    }


def _noise(found: Noise) -> dict[str, Any]:
    lower, upper = (max(bound, 0.0) ** 0.5 for bound in found.variance[1:])
    bounds = "" if np.isnan(lower) else f" ({lower:.3f} to {upper:.3f})"
    of = f"{found.variance.mean**0.5:.3f}{bounds}, over {found.prompts} prompts"
    return {
        **plain(found),
        "words": f"standard deviation {of}"
        if found.flips is None
        else f"{found.flips:.0%} of its verdicts are wrong, a standard deviation of {of}",
    }


def refit_helps(found: Mapping[str, Any], judge: JudgeSettings) -> bool:
    """Whether to take over the refitted squash of what `as_plain` returned: the rubric sets none, or scores come nearer
    to the share of good labels with the new one."""
    error = found["calibration_error"]
    return found["squash"] is not None and ("squash" not in judge.model_fields_set or error["after"] < error["before"])


def noises(audited: Sequence[Mapping[str, Any]]) -> dict[str, JudgeNoise]:
    """Each judge's noise if it was measured, from what `as_plain` returned."""
    measured = {each["criterion"]: each["noise"] for each in audited if "noise" in each}
    return {name: JudgeNoise(each["variance"]["mean"], each["flips"] is not None) for name, each in measured.items()}


def _from_people(found: FromPeople) -> dict[str, Any]:
    return {
        "measured": found.measured,
        "fitted": found.fitted,
        "before": _weighed(found.before, found.before_agreement) | {"reason": found.before.reason},
        "rollouts": _measured(found.agreement),
        "people": None if found.people is None else _people(found.people),
    }


def _people(found: People) -> dict[str, Any]:
    return {
        "krippendorff_alpha": plain(found.krippendorff_alpha),
        "cohen_kappa": null_if_nan(found.cohen_kappa),
        "pairs": [plain(pair) for pair in found.pairs if pair.rollouts],
    }


def as_numbers(audited: Sequence[CriterionAudit]) -> dict[str, float]:
    """The metrics, which are plotted over time."""
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


def people_numbers(people: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of what people and users said, if they said anything."""
    found = {}
    if people["pairs"] is not None:
        found["pairwise_agreement"] = people["pairs"]["agreement"]["reward"]["share"]["mean"]
    if people["feedback"] is not None:
        found["feedback_agreement"] = people["feedback"]["agreement"]["reward"]["agreement"]["mean"]
    return {name: number for name, number in found.items() if number is not None}
