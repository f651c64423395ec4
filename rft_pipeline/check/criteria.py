"""Whether each criterion can do its work: its gate can be passed, its columns exist, its texts can be told apart."""

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
from rft_pipeline.prompts.rows import shown
from rft_pipeline.rules import Column


def check_criteria(
    campaign: Campaign,
    prompts: Mapping[str, pl.DataFrame | None],
    anchors: pl.DataFrame | None,
    rubric: Path,
    settings: Findings,
) -> None:
    """Check every criterion against the others, the prompts by split, and the anchors."""
    _check_doubled(campaign, rubric, settings)
    rows = {split: rows for split, rows in {**prompts, "anchors": anchors}.items() if rows is not None}
    for each in campaign.rubric.single_criteria:
        _check_judge(f"{rubric}: {each.name}", each, rows, settings)
    _check_held_out(campaign, rows, settings)
    for criterion in campaign.rubric.criteria:
        if criterion.gate is not None:
            _check_gate(f"{rubric}: {criterion.name}", criterion, criterion.gate, campaign, anchors, settings)


def _check_held_out(campaign: Campaign, rows: Mapping[str, pl.DataFrame], settings: Findings) -> None:
    """A criterion that only watches asks something else, or asks somebody else, than every criterion that trains."""
    where = f"{campaign.folder / 'campaign.yaml'}: alarms.held_out"
    judges = with_answer_settings(campaign, judge_models(campaign))
    training = [(each, (each.fingerprint, judge_of(each, judges))) for each in campaign.rubric.single_criteria]
    for criterion in campaign.held_out:
        for each in criterion.members or (criterion,):
            _check_judge(f"{where}: {each.name}", each, rows, settings)
            asked = each.fingerprint, judge_of(each, judges)
            if same := [other.name for other, theirs in training if theirs == asked]:
                settings.errors.append(
                    f"{where}: {each.name} is {same[0]} of the rubric: the same question to the same judge, which sees "
                    "what training sees; ask by another protocol, or another judge (`by`)"
                )
            elif near := [
                other.name
                for other, (_, judge) in training
                if each.judged and (other.judge.protocol, judge) == (each.judge.protocol, asked[1])
            ]:
                settings.warnings.append(
                    f"{where}: {each.name} asks the judge of {near[0]} by the same protocol ({each.judge.protocol}), "
                    "so that what deceives one may deceive both; ask by another protocol, or another judge (`by`)"
                )
    if campaign.alarms is not None and campaign.alarms.kl_prompts == 0:
        settings.warnings.append(
            f"{campaign.folder / 'campaign.yaml'}: alarms.kl_prompts: 0, so the KL to base is not estimated and "
            "kl_warn and kl_stop do nothing; set e.g. 32"
        )
    if campaign.alarms is not None and not campaign.held_out:
        settings.warnings.append(
            f"{where}: none given, so nothing can tell a better policy from one that games its judge; "
            "name a criterion here that another protocol or judge decides"
        )


def _check_judge(where: str, criterion: Criterion, rows: Mapping[str, pl.DataFrame], settings: Findings) -> None:
    settings.errors += [f"{where}: {fault}" for fault in criterion.judge.faults()]
    for column in criterion.judge.columns():
        _check_column(where, column, rows, settings)


def _check_doubled(campaign: Campaign, rubric: Path, settings: Findings) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for criterion in campaign.rubric.criteria:
        alike[criterion.fingerprint].append(criterion.name)
    for names in alike.values():
        if len(names) > 1:
            settings.errors.append(
                f"{rubric}: {', '.join(names)} are one criterion under {len(names)} names: the same judge with the "
                "same settings; keep one and give it the sum of the weights"
            )


def _check_gate(
    where: str, criterion: Criterion, gate: float, campaign: Campaign, anchors: pl.DataFrame | None, settings: Findings
) -> None:
    if gate == 0:
        settings.warnings.append(f"{where}: gate 0 stops nothing, since no score is below 0; remove it or raise it")
        return
    best = criterion.judge.best_score(campaign.rollouts.sampling.max_new_tokens)
    if best < gate:
        settings.errors.append(
            f"{where}: gate {gate:g} cannot be passed: with rollouts.sampling.max_new_tokens "
            f"{campaign.rollouts.sampling.max_new_tokens} the best score is {best:.2f}"
        )
    elif gate == 1 and criterion.judge.scores(campaign.served_judges) is Scores.INSIDE:
        settings.errors.append(
            f"{where}: gate 1 cannot be passed: scores of a {criterion.judge.protocol} judge stay below 1; "
            "allowed: 0 to 1, both left out"
        )
    elif isinstance(criterion.judge, RuleJudge) and anchors is not None:
        verdicts = [criterion.judge.rule.decide(as_rollout(row)) for row in anchors.iter_rows(named=True)]
        scores = [verdict.score for verdict in verdicts if verdict.score is not None]
        if scores and max(scores) < gate:
            unscored = f" and {len(verdicts) - len(scores)} unscored" if len(scores) < len(verdicts) else ""
            settings.errors.append(
                f"{where}: gate {gate:g} is passed by none of the {len(scores)} anchors{unscored} (the best scores "
                f"{max(scores):.2f}); every rollout would end at the floor: lower the gate or fix the rule"
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
            pass  # an anchor without it is unscored, which moves nothing
        elif len(missing) == rows.height:
            there = sorted({key for text in rows["fields"] for key in json.loads(text)})
            settings.errors.append(
                f"{place}: no {what} has a {'value in ' if column.name in there else ''}column {column.name!r}; "
                f"they have: {', '.join(there) or 'none'}"
            )
        elif missing:
            settings.warnings.append(
                f"{place}: {len(missing)} of {rows.height} {what}s lack the column {column.name!r} "
                f"(e.g. {missing[0]}); {column.absent}"
            )
        if odd:
            settings.errors.append(
                f"{place}: {len(odd)} {what}s hold something in {column.name!r} that is {column.not_one} "
                f"(e.g. {odd[0]}); allowed: {column.allowed}"
            )
