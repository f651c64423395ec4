"""Suggests another wording of one criterion: half of the labels choose it, an audit on the other half decides.

No record is made, and nothing is changed but a file next to the rubric.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rft_pipeline.audit.calibration import calibration
from rft_pipeline.campaign import Audit, Campaign
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges.likelihood import LikelihoodSettings
from rft_pipeline.stats import Interval
from rft_pipeline.store import Home
from rft_pipeline.strict import did_you_mean
from rft_pipeline.suggest import looks
from rft_pipeline.suggest.asking import disagreements, written_candidates
from rft_pipeline.suggest.candidates import Candidate, made_candidates
from rft_pipeline.suggest.candidates import candidate as checked
from rft_pipeline.suggest.halves import Halves, halves, labelled_rows
from rft_pipeline.suggest.measuring import Comparison, Tried, best, compare, try_judge
from rft_pipeline.suggest.trial import Trial, Writer, open_trial
from rft_pipeline.suggest.writing import present_judge, rubric_path, write_suggested

STEPS = 2
"""How often a model writes: the second time it sees what the best wording so far gets wrong."""


@dataclass(frozen=True)
class Suggestion:
    """What was tried, and what the half that decides says."""

    criterion: Criterion
    halves: Halves
    tried: tuple[Tried, ...]
    """The present judge and the candidates on the half that chooses, in the order of the trials."""
    unusable: tuple[str, ...]
    """Why texts that a model wrote could not be used."""
    chosen: Candidate
    """The best of them there, with its squash fitted; the present judge if there is nothing to change."""
    reworded: bool
    """Whether it says something else; otherwise only its squash may be another one."""
    comparison: Comparison | None
    """On the half that decides; None if there is nothing to change."""
    earlier: int
    """How many earlier suggestions looked at this half."""
    rubric: Path
    file: Path | None
    """The rubric with the suggestion; None if it is not better."""

    @property
    def difference(self) -> Interval | None:
        """What decides, after minus before: the AUC, which no squash changes; κ if only the squash is another one."""
        if self.comparison is None:
            return None
        return self.comparison.auc if self.reworded else self.comparison.cohen_kappa

    @property
    def measure(self) -> str:
        return "AUC" if self.reworded else "κ"


def suggest(
    campaign: Campaign,
    home: Home,
    name: str,
    given: Sequence[Candidate] = (),
    writer: Writer | None = None,
    count: int = 8,
) -> Suggestion:
    """Suggest another judge of one criterion; writes the file if it is better on the half that decides.

    `given` are tried first, then those that `made_candidates` makes, then `count` that `writer` writes. Raises
    `ConfigError` for a criterion without anything to suggest, `GateError` for too few labels, and what engines raise.
    """
    criterion = _criterion(campaign, name)
    rubric = rubric_path(campaign.folder)
    present = Candidate(present_judge(rubric, name), criterion.judge)
    candidates = [*given, *made_candidates(criterion, present.raw, campaign.policy.system, campaign.folder)]
    _refuse_nothing_to_try(criterion, candidates, writer)
    divided = halves(campaign, criterion, labelled_rows(campaign, home.store, criterion))
    audit = campaign.audit or Audit()
    with open_trial(campaign, home, criterion, candidates, writer) as trial:
        tried = [try_judge(name, each, divided.choosing.rows, trial.judge_rows) for each in (present, *candidates)]
        if tried[0].labelled is None:
            raise ConfigError(f"{name}: {tried[0].note}")
        most_unscored = max(audit.max_unscored_share, tried[0].unscored)
        unusable: list[str] = []
        if writer is not None:
            _write(trial, writer, criterion, tried, unusable, divided, count, most_unscored)
        found = best(tried, most_unscored)
        chosen = _with_fitted_squash(found, campaign)
        reworded = found is not tried[0]
        if not reworded and chosen.judge == present.judge:
            return Suggestion(criterion, divided, tuple(tried), tuple(unusable), present, False, None, 0, rubric, None)
        before, after = (try_judge(name, each, divided.held_out.rows, trial.judge_rows) for each in (present, chosen))
    if before.labelled is None or after.labelled is None:
        raise ConfigError(f"{name}: {before.note or after.note}")
    seed = seed_of(campaign.seed, "rubric suggest", name)
    comparison = compare(before.labelled, after.labelled, audit.resamples, seed)
    earlier = looks.count(home.root, campaign.name, name, divided.held_out.prompts)
    difference = comparison.auc if reworded else comparison.cohen_kappa
    file = None
    if difference.lower95 > 0 and after.unscored <= max(audit.max_unscored_share, before.unscored):
        file = write_suggested(rubric, name, chosen.raw, _comment(comparison, divided, reworded))
    return Suggestion(
        criterion, divided, tuple(tried), tuple(unusable), chosen, reworded, comparison, earlier, rubric, file
    )


def _criterion(campaign: Campaign, name: str) -> Criterion:
    found = next((each for each in campaign.rubric.criteria if each.name == name), None)
    if found is None:
        names = campaign.rubric.names
        raise ConfigError(
            f"--criterion {name}: the rubric has no such criterion{did_you_mean(name, names)}; it has: "
            f"{', '.join(names)}"
        )
    if not found.judge.WORDING:
        raise ConfigError(
            f"{name}: {found.judge.kind} has no wording to suggest; it would have one if a single model judged it, in "
            "words or by likelihoods"
        )
    return found


def _refuse_nothing_to_try(criterion: Criterion, candidates: Sequence[Candidate], writer: Writer | None) -> None:
    if not candidates and writer is None:
        raise ConfigError(
            f"{criterion.name}: {criterion.judge.protocol} asks in words: name who writes other questions (--model, a "
            "judge of campaign.yaml or served:NAME with --server), or a file of judges (--candidates)"
        )


def _write(
    trial: Trial,
    writer: Writer,
    criterion: Criterion,
    tried: list[Tried],
    unusable: list[str],
    divided: Halves,
    count: int,
    most_unscored: float,
) -> None:
    """Have texts written and try them; appends to `tried` and `unusable`. Each step begins with the best judge so far
    that has the present one's settings."""
    for step in range(min(STEPS, count)):
        now = best([each for each in tried if each.candidate.judge.protocol == criterion.judge.protocol], most_unscored)
        if now.judged is None or disagreements(now.judged).is_empty():
            return
        part = count // STEPS + (step < count % STEPS)
        asked = criterion.model_copy(update={"judge": now.candidate.judge})
        seed = seed_of(trial.campaign.seed, "rubric suggest", step)
        with trial.writer(writer) as asker:
            written = list(written_candidates(asked, now.candidate.raw, now.judged, asker, part, seed))
        for each in written:
            try:
                if isinstance(each, str):
                    raise ConfigError(each)
                new = checked(each, trial.campaign.folder)
            except ConfigError as error:
                unusable.append(str(error))
                continue
            if new.judge not in [other.candidate.judge for other in tried]:
                tried.append(try_judge(criterion.name, new, divided.choosing.rows, trial.judge_rows))


def _with_fitted_squash(found: Tried, campaign: Campaign) -> Candidate:
    """The candidate with the squash that fits the labels of the half that chose it, if it reads likelihoods."""
    judge = found.candidate.judge
    if not isinstance(judge, LikelihoodSettings) or found.labelled is None:
        return found.candidate
    fitted = calibration(found.labelled, judge.squash).squash
    if fitted is None:
        return found.candidate
    squash = {"offset": float(f"{fitted.offset:.3g}"), "scale": float(f"{fitted.scale:.3g}")}
    return checked({**found.candidate.raw, "squash": squash}, campaign.folder)


def _comment(comparison: Comparison, divided: Halves, reworded: bool) -> str:
    before, after = comparison.before.agreement, comparison.after.agreement
    name, numbers = ("AUC", (before.auc, after.auc)) if reworded else ("κ", (before.cohen_kappa, after.cohen_kappa))
    half = divided.held_out
    return (
        f"Suggested by `rft rubric suggest`: {name} {numbers[0].mean:.2f} → {numbers[1].mean:.2f} on {half.words} that "
        "did not choose it."
    )
