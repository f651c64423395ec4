"""Checks each criterion: its gate can be passed, its columns exist, its texts differ."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import as_rollout, judge_models, judge_of, with_answer_settings
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.check.result import Findings
from rft_pipeline.judges import RuleJudge, Scores
from rft_pipeline.judges.asking import AskingSettings
from rft_pipeline.models import EMBEDDED, HUB_ID
from rft_pipeline.prompts.rows import shown
from rft_pipeline.rules import Column
from rft_pipeline.strict import did_you_mean


def check_criteria(
    campaign: Campaign,
    prompts: Mapping[str, pl.DataFrame | None],
    anchors: pl.DataFrame | None,
    rubric: Path,
    settings: Findings,
) -> None:
    """Check every criterion against the other criteria, the prompts by split, and the anchors."""
    _check_doubled(campaign, rubric, settings)
    rows = {split: rows for split, rows in {**prompts, "anchors": anchors}.items() if rows is not None}
    for each in campaign.rubric.single_criteria:
        _check_judge(f"{rubric}: {each.name}", each, rows, settings)
        _check_can_answer(f"{rubric}: {each.name}", each, campaign, settings)
    _check_held_out(campaign, rows, settings)
    for criterion in campaign.rubric.criteria:
        if criterion.gate is not None:
            _check_gate(f"{rubric}: {criterion.name}", criterion, criterion.gate, campaign, anchors, settings)


def _check_held_out(campaign: Campaign, rows: Mapping[str, pl.DataFrame], settings: Findings) -> None:
    """A criterion of the alarms must have another question or another judge than every training criterion."""
    where = f"{campaign.folder / 'campaign.yaml'}: alarms.held_out"
    judges = with_answer_settings(campaign, judge_models(campaign))
    training = [(each, (each.question, judge_of(each, judges))) for each in campaign.rubric.single_criteria]
    for criterion in campaign.held_out:
        for each in criterion.singles:
            _check_judge(f"{where}: {each.name}", each, rows, settings)
            _check_can_answer(f"{where}: {each.name}", each, campaign, settings)
            key = each.question, judge_of(each, judges)
            if same := [other.name for other, theirs in training if theirs == key]:
                settings.errors.append(
                    f"{where}: {each.name} has the same question and judge as {same[0]} of the rubric, so it would "
                    "show nothing new; use another protocol or another judge (`by`)"
                )
            elif near := [
                other.name
                for other, (_, judge) in training
                if each.judged and (other.judge.protocol, judge) == (each.judge.protocol, key[1])
            ]:
                settings.warnings.append(
                    f"{where}: {each.name} has the judge and protocol ({each.judge.protocol}) of {near[0]}, so what "
                    "deceives one may deceive both; use another protocol or another judge (`by`)"
                )
    if campaign.alarms is not None and campaign.alarms.kl_prompts == 0:
        settings.warnings.append(
            f"{campaign.folder / 'campaign.yaml'}: alarms.kl_prompts: 0, so the KL to base is not estimated and "
            "kl_warn and kl_stop do nothing; set e.g. 32"
        )
    if campaign.alarms is not None and not campaign.held_out:
        settings.warnings.append(
            f"{where}: none given, so a better policy cannot be distinguished from one that exploits its judge; "
            "add a criterion here with another protocol or judge"
        )


def _check_can_answer(where: str, criterion: Criterion, campaign: Campaign, settings: Findings) -> None:
    """A warning for a question to the embedded model."""
    judge = criterion.judge
    if isinstance(judge, AskingSettings) and campaign.all_judges[judge.by].model in (EMBEDDED, HUB_ID):
        settings.warnings.append(
            f"{where}: {judge.protocol} asks the embedded model, which is too small to answer questions about a reply "
            "better than by chance; use contrast, relevance, recall, word_order or cloze with it, or a larger model "
            f"({campaign.judge_key(judge.by)}.model)"
        )


def _unfitted(criterion: Criterion) -> bool:
    """Whether it has a judge that measures a number, and no squash that turns it into a score."""
    return any(
        "squash" in type(each.judge).model_fields and "squash" not in each.judge.model_fields_set
        for each in criterion.singles
    )


def unfitted_in(campaign: Campaign) -> tuple[str, ...]:
    """The criteria with a judge that measures a number and no squash."""
    return tuple(each.name for each in campaign.evaluated if _unfitted(each))


def _check_fitted(where: str, criterion: Criterion, gate: float, campaign: str, settings: Findings) -> None:
    """A warning for a gate on scores of a measured number that nobody fitted."""
    for each in criterion.singles:
        if _unfitted(each):
            settings.warnings.append(
                f"{where}: gate {gate:g}: the {each.judge.protocol} judge has no `squash`, so its scores are fitted to "
                f"no labels, and a threshold on them says little; label replies, then `rft audit {campaign} --suggest` "
                "prints a squash that fits them"
            )


def _check_judge(where: str, criterion: Criterion, rows: Mapping[str, pl.DataFrame], settings: Findings) -> None:
    settings.errors += [f"{where}: {fault}" for fault in criterion.judge.faults()]
    settings.warnings += [f"{where}: {warning}" for warning in criterion.judge.warnings()]
    for column in criterion.judge.columns():
        _check_column(where, column, rows, settings)


def _check_doubled(campaign: Campaign, rubric: Path, settings: Findings) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for criterion in campaign.rubric.criteria:
        alike[criterion.fingerprint].append(criterion.name)
    for names in alike.values():
        if len(names) > 1:
            settings.errors.append(
                f"{rubric}: {', '.join(names)} are the same criterion under {len(names)} names (same judge and "
                "settings); keep one and give it the sum of the weights"
            )


def _check_gate(
    where: str, criterion: Criterion, gate: float, campaign: Campaign, anchors: pl.DataFrame | None, settings: Findings
) -> None:
    if gate == 0:
        settings.warnings.append(f"{where}: gate 0 has no effect, since no score is below 0; remove it or raise it")
        return
    best = criterion.judge.best_score(campaign.rollouts.sampling.max_new_tokens)
    if best < gate:
        settings.errors.append(
            f"{where}: gate {gate:g} cannot be passed: with rollouts.sampling.max_new_tokens "
            f"{campaign.rollouts.sampling.max_new_tokens} the best score is {best:.2f}"
        )
    elif gate == 1 and criterion.judge.scores(campaign.served_judges) is Scores.INSIDE:
        settings.errors.append(
            f"{where}: gate 1 cannot be passed: scores of a {criterion.judge.protocol} judge are below 1; "
            "allowed: above 0 and below 1"
        )
    elif not isinstance(criterion.judge, RuleJudge):
        _check_fitted(where, criterion, gate, campaign.name, settings)
    elif anchors is not None:
        verdicts: list[float | None] = []
        for _, verdict in criterion.judge.rule.decide_all([as_rollout(row) for row in anchors.iter_rows(named=True)]):
            verdicts.append(verdict.score)
            if verdict.score is not None and verdict.score >= gate:
                break  # one that passes is enough, and code takes long to test
        scores = [score for score in verdicts if score is not None]
        if scores and max(scores) < gate:
            unscored = f" and {len(verdicts) - len(scores)} unscored" if len(scores) < len(verdicts) else ""
            settings.errors.append(
                f"{where}: none of the {len(scores)} anchors{unscored} passes gate {gate:g} (the best score is "
                f"{max(scores):.2f}), so every rollout would have reward 0: lower the gate or fix the rule"
            )


def _check_column(where: str, column: Column, tables: Mapping[str, pl.DataFrame], settings: Findings) -> None:
    place = f"{where}: {column.parameter}"
    for table, rows in tables.items():
        missing, odd = [], []
        for name, text in zip(rows["id"], rows["fields"], strict=True):
            fields: dict[str, Any] = json.loads(text)
            if column.name not in fields or (column.needed and fields[column.name] is None):
                missing.append(name)
            elif not column.can_be(fields[column.name]):
                odd.append(f"{name}: {shown(fields[column.name])}")
        what = "anchor" if table == "anchors" else f"{table} prompt"
        if table == "anchors" and column.needed:
            pass  # an anchor without it is unscored, which has no effect
        elif len(missing) == rows.height:
            existing = sorted({key for text in rows["fields"] for key in json.loads(text)})
            settings.errors.append(
                f"{place}: no {what} has a {'value in ' if column.name in existing else ''}column {column.name!r}"
                f"{'' if column.name in existing else did_you_mean(column.name, existing)}; "
                f"existing columns: {', '.join(existing) or 'none'}"
            )
        elif missing:
            settings.warnings.append(
                f"{place}: {len(missing)} of {rows.height} {what}s lack the column {column.name!r} "
                f"(e.g. {missing[0]}); {column.absent}"
            )
        if odd:
            settings.errors.append(
                f"{place}: {len(odd)} {what}s have a value in {column.name!r} that is {column.not_one} "
                f"(e.g. {odd[0]}); allowed: {column.allowed}"
            )
