"""Suggests another wording of one criterion: half of the labels choose it, an audit on the other half decides.

No record is made, and nothing is changed but a file next to the rubric.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rft_pipeline.audit.calibration import calibration
from rft_pipeline.campaign import Audit, Campaign
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges.likelihood import LikelihoodSettings
from rft_pipeline.progress import counted
from rft_pipeline.stats import Interval
from rft_pipeline.store import Home
from rft_pipeline.strict import did_you_mean
from rft_pipeline.suggest import looks
from rft_pipeline.suggest.asking import disagreements, written_candidates
from rft_pipeline.suggest.candidates import Candidate, Raw, made_candidates
from rft_pipeline.suggest.candidates import candidate as checked
from rft_pipeline.suggest.halves import Half, Halves, halves, labelled_rows
from rft_pipeline.suggest.measuring import Comparison, Tried, best, compare, try_judge
from rft_pipeline.suggest.trial import Trial, Writer, open_trial
from rft_pipeline.suggest.writing import present_judge, rubric_path, write_suggested

log = logging.getLogger(__name__)

STEPS = 2
"""How often a model writes: the second time it sees what the best wording so far gets wrong."""


@dataclass(frozen=True)
class Suggestion:
    """What was tried, and what the half that decides says."""

    criterion: Criterion
    halves: Halves
    tried: tuple[Tried, ...]
    """The present judge and the candidates on the half that chooses, in the order of the trials."""
    wanted: int
    """How many wordings a model was to write."""
    unusable: tuple[str, ...]
    """Why those that it wrote could not be used, one each."""
    rubric: Path
    chosen: Candidate
    """The best of them there, with its squash fitted."""
    reworded: bool
    """Whether it says something else than the present judge, and not only has another squash."""
    comparison: Comparison | None = None
    """On the half that decides; None if the present judge is the best."""
    earlier: int = 0
    """How many earlier suggestions looked at this half."""
    file: Path | None = None
    """The rubric with the suggestion; None if it is not better."""

    @property
    def difference(self) -> Interval | None:
        """What decides, after minus before."""
        return None if self.comparison is None else self.comparison.of(self.reworded)

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
    with open_trial(campaign, home, criterion, candidates, writer) as trial:
        choosing = _Choosing(trial, criterion, divided.choosing)
        choosing.try_all([present, *candidates])
        if writer is not None:
            choosing.write(writer, count)
        now, found = choosing.tried[0], choosing.best()
        chosen = _with_fitted_squash(found, campaign.folder)
        written = choosing.wanted, tuple(choosing.unusable)
        said = partial(Suggestion, criterion, divided, tuple(choosing.tried), *written, rubric)
        if chosen.judge == present.judge:
            return said(chosen, reworded=False)
        before, after = (_tried(name, each, divided.held_out, trial) for each in (present, chosen))
    assert before.labelled is not None
    assert after.labelled is not None
    audit, reworded = campaign.audit or Audit(), found is not now
    compared = compare(before.labelled, after.labelled, audit.resamples, seed_of(campaign.seed, "rubric suggest", name))
    earlier = looks.count(home.root, campaign.name, name, divided.held_out.prompts)
    better = compared.of(reworded).lower95 > 0 and after.unscored <= max(audit.max_unscored_share, before.unscored)
    why = _why(compared, divided.held_out, reworded)
    file = write_suggested(rubric, name, chosen.raw, why) if better else None
    return said(chosen, reworded, compared, earlier, file)


def _tried(name: str, candidate: Candidate, half: Half, trial: Trial) -> Tried:
    """A judge on a half. Raises `ConfigError` if it cannot be used."""
    found = try_judge(name, candidate, half.rows, trial.judge_rows)
    if found.labelled is None:
        raise ConfigError(f"{name}: {found.note}")
    return found


@dataclass
class _Choosing:
    """The candidates on the half that chooses."""

    trial: Trial
    criterion: Criterion
    half: Half
    tried: list[Tried] = field(default_factory=list)
    """The present judge first."""
    wanted: int = 0
    unusable: list[str] = field(default_factory=list)

    def try_all(self, candidates: Sequence[Candidate]) -> None:
        """Try the present judge and others. Raises `ConfigError` if the present one cannot be used."""
        present, *others = candidates
        log.info("now: %s", present.judge.wording)
        self.tried.append(_tried(self.criterion.name, present, self.half, self.trial))
        for place, each in enumerate(others, start=1):
            log.info("candidate %d of %d: %s", place, len(others), each.judge.wording)
            self._try(each)

    def _try(self, candidate: Candidate) -> None:
        self.tried.append(try_judge(self.criterion.name, candidate, self.half.rows, self.trial.judge_rows))

    def best(self, protocol: str | None = None) -> Tried:
        """The best of all, or of those of one protocol."""
        audit = self.trial.campaign.audit or Audit()
        able = [each for each in self.tried if protocol in (None, each.candidate.judge.protocol)]
        return best(able, max(audit.max_unscored_share, self.tried[0].unscored))

    def write(self, writer: Writer, count: int) -> None:
        """Have texts written and try them, in steps: each begins with the best judge so far."""
        for step in range(min(STEPS, count)):
            now = self.best(self.criterion.judge.protocol)
            if now.judged is None or disagreements(now.judged).is_empty():
                return
            asked = self.criterion.model_copy(update={"judge": now.candidate.judge})
            seed = seed_of(self.trial.campaign.seed, "rubric suggest", step)
            part = count // STEPS + (step < count % STEPS)
            self.wanted += part
            log.info("%s writes %s", writer.name, counted(part, "wording"))
            with self.trial.writer(writer) as asker:
                written = list(written_candidates(asked, now.candidate.raw, now.judged, asker, part, seed))
            for each in written:
                self._try_written(each)

    def _try_written(self, written: Raw | str) -> None:
        """Try what a model wrote, unless it cannot be used or was tried before."""
        if isinstance(written, str):
            self.unusable.append(written)
            return
        try:
            new = checked(written, self.trial.campaign.folder)
        except ConfigError as error:
            self.unusable.append(str(error))
            return
        if new.judge not in [each.candidate.judge for each in self.tried]:
            log.info("written: %s", new.judge.wording)
            self._try(new)


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


def _with_fitted_squash(found: Tried, folder: Path) -> Candidate:
    """The candidate with the squash that fits the labels of the half that chose it, if it reads likelihoods."""
    judge = found.candidate.judge
    if not isinstance(judge, LikelihoodSettings) or found.labelled is None:
        return found.candidate
    fitted = calibration(found.labelled, judge.squash).squash
    if fitted is None:
        return found.candidate
    squash = {"offset": float(f"{fitted.offset:.3g}"), "scale": float(f"{fitted.scale:.3g}")}
    return checked({**found.candidate.raw, "squash": squash}, folder)


def _why(compared: Comparison, half: Half, reworded: bool) -> str:
    sides = compared.before.agreement, compared.after.agreement
    before, after = (each.auc if reworded else each.cohen_kappa for each in sides)
    measure = "AUC" if reworded else "κ"
    return f"{measure} {before.mean:.2f} → {after.mean:.2f} on {half.words} that did not choose it."
