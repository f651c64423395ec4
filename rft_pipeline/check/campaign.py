"""Reads everything a campaign names and runs all checks."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from rft_pipeline.audit.rows import MEASURE
from rft_pipeline.campaign import Campaign, PromptSource, load_campaign, read_yaml
from rft_pipeline.campaign.copied import examples_in, marked_alarms, marked_lines, marked_squashes
from rft_pipeline.check.adapter import check_adapter
from rft_pipeline.check.context import check_context
from rft_pipeline.check.criteria import check_criteria, unfitted_in
from rft_pipeline.check.labels import check_labels, rules_against_labels
from rft_pipeline.check.noise import check_noise
from rft_pipeline.check.result import CheckResult, Findings, LabelCounts
from rft_pipeline.check.saving import check_saving
from rft_pipeline.check.served import check_served
from rft_pipeline.check.slots import check_slots
from rft_pipeline.check.templates import check_templates
from rft_pipeline.check.training import check_training
from rft_pipeline.engines import load
from rft_pipeline.errors import ConfigError, DataError, RftError
from rft_pipeline.judges import ChecklistJudge
from rft_pipeline.labels.table import labels_of, why_left_out
from rft_pipeline.models import trained
from rft_pipeline.progress import counted
from rft_pipeline.prompts.anchors import anchors_of
from rft_pipeline.prompts.overlap import overlaps
from rft_pipeline.prompts.reading import ids_given_twice, merge_duplicates, read_rows, source_name
from rft_pipeline.prompts.slots import with_system
from rft_pipeline.stages.replaying import replayable

FEW_TRAIN = 32
"""With fewer train prompts, rounds soon repeat."""
FEW_EVAL = 20
"""With fewer eval prompts, intervals are too wide to detect an improvement."""
PAIRS_SHOWN = 10


def check_campaign(campaign_folder: Path, models: Path, store: Path) -> CheckResult:
    """Check the campaign in `campaign_folder`; `models` is the home's folder of models (none is fetched), `store` its
    store, which has people's labels.

    Raises `ConfigError` if campaign.yaml or the rubric cannot be loaded or a setting cannot work, `DataError` if only
    the data is wrong; the message has one line per finding.
    """
    campaign = load_campaign(campaign_folder)
    rubric = campaign_folder / read_yaml(campaign_folder / "campaign.yaml").get("rubric", "rubric.yaml")
    settings, data = Findings(), Findings()
    formats: dict[str, str] = {}
    train = _prompts(campaign, "train", campaign.prompts.train, data, formats)
    held_out = _prompts(campaign, "eval", campaign.prompts.eval, data, formats)
    anchors = _anchors(campaign, data)
    if train is not None and held_out is not None:
        _check_overlap(train, held_out, _file(campaign.prompts.train), _file(campaign.prompts.eval), data)
    if campaign.rollouts.replay is None:
        _check_sizes(campaign, train, settings)
    elif train is not None:
        _check_replay(campaign, train, data, formats)
    _check_promotion(campaign, held_out, settings)
    _check_engines(campaign, settings)
    check_served(campaign, settings)
    check_training(campaign, train, store, settings)
    check_adapter(campaign, models, settings)
    check_saving(campaign, models, settings)
    _check_trained(campaign, models, settings)
    prompts = {"train": train, "eval": held_out}
    check_criteria(campaign, prompts, anchors, rubric, settings)
    check_slots(campaign, prompts, anchors, rubric, settings)
    people = labels_of(campaign, store).filter(split=MEASURE)
    if anchors is not None:
        check_labels(campaign, anchors, people, settings)
    check_noise(campaign, anchors, people, settings)
    check_context(campaign, prompts, models, rubric, settings)
    check_templates(campaign, prompts, models, settings)
    settings.warnings += [f"{rubric}: {why}" for why in why_left_out(campaign, store)]
    settings.warnings += _of_another_task(campaign.name, (campaign_folder / "campaign.yaml", rubric))
    files = {str(campaign.anchors_path): anchors}
    files |= {source_name(getattr(campaign.prompts, split), campaign.folder): rows for split, rows in prompts.items()}
    settings.warnings += _examples(files)
    if campaign.feedback is not None and campaign.anchors is None:
        settings.warnings.append(
            f"{campaign_folder / 'campaign.yaml'}: feedback: only an audit compares it with the judges, and that needs "
            f"anchors; people can label logged replies: rft labels export {campaign.name} --from-feedback 40"
        )
    if settings.errors:
        raise ConfigError("\n".join(settings.errors + data.errors))
    if data.errors or train is None or held_out is None:
        raise DataError("\n".join(data.errors))
    return CheckResult(
        campaign=campaign,
        formats=formats,
        train_prompts=train.height,
        eval_prompts=held_out.height,
        anchors=0 if anchors is None else anchors.height,
        unfitted=unfitted_in(campaign),
        otherwise={} if anchors is None else rules_against_labels(campaign, anchors),
        labels={} if anchors is None else {name: label_counts(anchors, name) for name in campaign.rubric.names},
        warnings=tuple(settings.warnings + data.warnings),
    )


def _of_another_task(campaign: str, files: Iterable[Path]) -> Iterable[str]:
    for path in files:
        for task, lines in marked_lines(path).items():
            yield f"{path}: {_lines(lines)}: the text below was written for {task}; change it, then remove the comment"
        for task, squashes in marked_squashes(path).items():
            yield (
                f"{path}: {_lines(squashes.values())}: the squash of {', '.join(squashes)} was fitted on the labels of "
                f"{task}; `rft audit {campaign} --suggest` prints what fits yours; then remove the comment"
            )
        for task, alarms in marked_alarms(path).items():
            yield (
                f"{path}: {_lines(alarms.values())}: {', '.join(alarms)} watches for the alarms with a squash that was "
                f"fitted on the labels of {task}, and can stop a promotion; fit it to yours or switch it off "
                "(docs/trusting-the-judge.md, A judge of the alarms), then remove the comment"
            )


def _lines(numbers: Iterable[int]) -> str:
    lines = list(numbers)
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"


def _examples(files: Mapping[str, pl.DataFrame | None]) -> Iterable[str]:
    """A warning for each file with rows that `rft new` copied from another campaign."""
    for file, rows in files.items():
        for task, count in ({} if rows is None else examples_in(rows["fields"])).items():
            yield (
                f"{file}: {counted(count, 'row')} of {task}, as their column `comment` says; replace them with rows of "
                "your own"
            )


def label_counts(anchors: pl.DataFrame, criterion: str) -> LabelCounts:
    """Number of anchors labelled 0, labelled 1, and unlabelled, for one criterion."""
    labels = anchors["labels"].struct.field(criterion)
    good, labelled = int(labels.sum()), labels.len() - labels.null_count()
    return LabelCounts(bad=labelled - good, good=good, unlabelled=labels.null_count())


def _prompts(
    campaign: Campaign, split: str, source: PromptSource, data: Findings, formats: dict[str, str]
) -> pl.DataFrame | None:
    where = source_name(source, campaign.folder)
    try:
        rows, numbers, formats[split] = read_rows(source, campaign.folder, rubrics=_needs_rubrics(campaign))
    except RftError as error:
        data.errors.append(str(error))
        return None
    _check_ids(zip(rows["id"], numbers, strict=True), where, data)
    try:
        rows = with_system(rows, campaign.policy.system, where)
    except DataError as error:
        data.errors.append(str(error))
    unique, merged = merge_duplicates(rows)
    if merged and source.source != campaign.rollouts.replay:  # the traces of a prompt are its group
        first = rows.filter(pl.col("prompt_id").is_duplicated())["prompt_id"][0]
        alike = ", ".join(rows.filter(prompt_id=first)["id"].head(3))
        repeated = counted(merged, "repeated prompt")
        data.warnings.append(f"{where}: {repeated} (e.g. that of the ids {alike}); each counts once")
    few, why = (
        (FEW_TRAIN, "rounds soon repeat")
        if split == "train"
        else (FEW_EVAL, "intervals are too wide to detect an improvement")
    )
    if unique.height < few:
        data.warnings.append(f"{where}: only {counted(unique.height, f'{split} prompt')}; below {few}, {why}")
    return unique


def _needs_rubrics(campaign: Campaign) -> bool:
    return any(isinstance(each.judge, ChecklistJudge) for each in campaign.evaluated)


def _check_overlap(
    train: pl.DataFrame, held_out: pl.DataFrame, train_file: str, eval_file: str, data: Findings
) -> None:
    pairs = overlaps(train, held_out)
    for pair in pairs[:PAIRS_SHOWN]:
        same = "has the same text as" if pair.similarity == 1 else f"shares {pair.similarity:.0%} of word triples with"
        data.errors.append(
            f"{eval_file}: {pair.eval_id} {same} {pair.train_id} of {train_file}; evaluation needs prompts that "
            "training does not use: change or remove one"
        )
    if len(pairs) > PAIRS_SHOWN:
        data.errors.append(f"{eval_file}: {len(pairs) - PAIRS_SHOWN} more prompts overlap with prompts of {train_file}")


def _anchors(campaign: Campaign, data: Findings) -> pl.DataFrame | None:
    if campaign.anchors_path is None:
        if campaign.rubric.judged:
            data.warnings.append(
                f"{campaign.folder / 'campaign.yaml'}: anchors: none given, so the judges of "
                f"{', '.join(criterion.name for criterion in campaign.rubric.judged)} cannot be audited; "
                "label some replies and name their file here"
            )
        return None
    try:
        return anchors_of(campaign)
    except RftError as error:
        data.errors.append(str(error))
        return None


def _check_ids(rows: Iterable[tuple[str, int]], where: str, data: Findings) -> None:
    """`rows`: id and line (in a table, row) of each."""
    if doubled := ids_given_twice(rows):
        data.errors.append(f"{where}: id given more than once: {doubled}; each row needs its own id")


def _check_replay(campaign: Campaign, train: pl.DataFrame, data: Findings, formats: dict[str, str]) -> None:
    try:
        found, left_out = replayable(campaign, train)
    except DataError as error:
        data.errors.append(str(error))
        return
    tokens = sum(trace.tokens is not None for traces in found.values() for trace in traces)
    parts = [f"{sum(map(len, found.values()))} rollouts of {len(found)} train prompts, {tokens} with token ids"]
    formats["replay"] = ", ".join([*parts, *(f"{count} {why} left out" for why, count in left_out.items())])
    if not any(len(traces) > 1 for traces in found.values()) and campaign.training.how.needs_differences:
        data.errors.append(
            f"{campaign.folder / str(campaign.rollouts.replay)}: each prompt has one rollout only, so there is nothing "
            f"to compare; {campaign.training.method} needs prompts with several"
        )


def _check_sizes(campaign: Campaign, train: pl.DataFrame | None, settings: Findings) -> None:
    where = campaign.folder / "campaign.yaml"
    wanted = campaign.rollouts.prompts_per_round
    if train is not None and wanted > train.height:
        settings.errors.append(
            f"{where}: rollouts.prompts_per_round: {wanted} is more than the {train.height} different prompts of "
            f"{_file(campaign.prompts.train)}; allowed: 1 to {train.height}"
        )
    if train is not None and campaign.rollouts.refill and wanted >= train.height:
        settings.warnings.append(
            f"{where}: rollouts.refill: {campaign.rollouts.refill}, but each round draws all {train.height} train "
            "prompts, so there are none to sample in place of groups without variance; lower prompts_per_round or add "
            "prompts"
        )
    _check_step(campaign, settings)


def _check_step(campaign: Campaign, settings: Findings) -> None:
    """A step that is larger than a round is filled with copies, or uses its few examples again."""
    training, where = campaign.training, f"{campaign.folder / 'campaign.yaml'}: training.batch_size"
    prompts, how = campaign.rollouts.prompts_per_round, campaign.training.how
    each = how.examples_per_prompt(training, campaign.rollouts.group_size)
    most = prompts * each
    if training.batch_size <= most:
        return
    more = (
        f"{where}: {training.batch_size} is more than the {most} {how.unit} of a round ({prompts} prompts, {each} each)"
    )
    if how.step_fits_round:
        settings.errors.append(f"{more}; allowed: 1 to {most}")
    else:
        settings.warnings.append(f"{more}, so that a step repeats some of them")


def _check_promotion(campaign: Campaign, held_out: pl.DataFrame | None, settings: Findings) -> None:
    least = campaign.promotion.min_prompts
    if held_out is not None and held_out.height < least:
        settings.warnings.append(
            f"{campaign.folder / 'campaign.yaml'}: promotion.min_prompts: needs {least} held-out prompts and "
            f"{_file(campaign.prompts.eval)} has {held_out.height}, so no round will be promoted; add prompts"
        )


def _check_engines(campaign: Campaign, settings: Findings) -> None:
    runtimes = {"rollouts": campaign.rollouts.runtime, "evaluation": campaign.evaluation.runtime}
    runtimes |= {campaign.judge_key(name): judge.runtime for name, judge in campaign.used_judges.items()}
    for key, runtime in runtimes.items():
        if missing := load.not_installed(runtime):
            settings.errors.append(f"{campaign.folder / 'campaign.yaml'}: {key}.{missing}")


def _check_trained(campaign: Campaign, models: Path, settings: Findings) -> None:
    """An error for a champion or a checkpoint that does not exist."""
    used = {"policy": campaign.policy.model}
    used |= {campaign.judge_key(name): judge.model for name, judge in campaign.used_judges.items()}
    for key, model in used.items():
        try:
            trained(model, models)
        except RftError as error:
            settings.errors.append(f"{campaign.folder / 'campaign.yaml'}: {key}.model: {error}")


def _file(source: PromptSource) -> str:
    return source.source if source.file_type == "hub" else Path(source.source).name
