"""Writes the folder of a new campaign."""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import FILE_TYPES, Campaign, PromptSource, load_campaign, read_yaml
from rft_pipeline.campaign.copied import COMMENT, mark, mark_of_alarm, mark_of_row, mark_of_squash
from rft_pipeline.campaign.subjects import columns_read
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.progress import counted
from rft_pipeline.prompts.formats import recognise
from rft_pipeline.prompts.formats.layouts import ASKED
from rft_pipeline.prompts.reading import SourceRows, ids_given_twice, read_rows
from rft_pipeline.prompts.rows import Row, file_rows, longest_column
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.rules.slots import slots_in
from rft_pipeline.rules.values import text_of
from rft_pipeline.scaffold import yaml_text
from rft_pipeline.scaffold.example_anchors import example_anchors, write_rows
from rft_pipeline.scaffold.marks import mark_budgets, mark_squashes, mark_texts
from rft_pipeline.scaffold.schema import FOLDER, first_line, write_schemas
from rft_pipeline.scaffold.split import split
from rft_pipeline.scaffold.templates import template_folder
from rft_pipeline.store import Home

EXAMPLES = 8
"""Example rows of each file, where no prompts are given."""
_DATA = (".jsonl", ".json", ".csv", ".parquet", ".gz")


@dataclass
class Wanted:
    """What a user asks for."""

    name: str
    like: str
    prompts: Path | None = None
    eval: Path | None = None
    eval_rows: int | None = None
    """How many prompts are drawn for evaluation; default: `split.eval_share`."""
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Own:
    """The prompts of a new campaign."""

    sources: dict[str, str]
    """By split: the value in campaign.yaml."""
    train: SourceRows
    columns: set[str]
    """The columns that train prompts have a value in."""
    comments: dict[str, str]


def create(home: Home, wanted: Wanted) -> tuple[Path, list[str]]:
    """Write the new campaign; returns its folder and what was decided, one line each.

    Nothing is written if it fails. Raises `ConfigError` for a name that is taken or not allowed, and what the readers
    of campaigns and prompts raise.
    """
    folder = home.data / wanted.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", wanted.name):
        raise ConfigError(
            f"{wanted.name!r}: a campaign's name has small letters, digits and _, and begins with a letter"
        )
    if folder.exists():
        raise ConfigError(f"{folder}: exists already; choose another name, or remove it first")
    template = load_campaign(template_folder(home, wanted.like))
    home.data.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{wanted.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        notes = _write(temporary, template, wanted)
        if not (home.data / FOLDER).exists():
            notes.append(f"{home.data / FOLDER}: editors read it to complete and check both YAML files; commit it too")
        write_schemas(home.data)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder, notes


def _write(folder: Path, template: Campaign, wanted: Wanted) -> list[str]:
    raw = read_yaml(template.folder / "campaign.yaml")
    rubric = str(raw.get("rubric", "rubric.yaml"))
    _copy_files(template, folder, rubric)
    notes: list[str] = []
    own = _examples(template, folder, notes) if wanted.prompts is None else _prompts(template, folder, wanted, notes)
    rubric_text, off = _rubric(
        template, yaml_text.without_head((template.folder / rubric).read_text(encoding="utf-8")), own, notes
    )
    (folder / rubric).write_text(rubric_text, encoding="utf-8")
    text = _settings(template, (template.folder / "campaign.yaml").read_text(encoding="utf-8"), own, wanted, notes)
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    if wanted.prompts is not None:
        notes += _unused(template, own, off, wanted)
    if template.anchors_path is not None:
        notes.append(example_anchors(template, template.anchors_path, folder, off))
    notes.append(
        f"texts for another task are marked `Written for {template.name}` in campaign.yaml and {rubric}, and each "
        "`squash`, which its labels fitted"
    )
    return notes


def _copy_files(template: Campaign, folder: Path, rubric: str) -> None:
    """Everything but data, the README and the two files that are written anew."""
    written = {"campaign.yaml", rubric, "README.md"}
    for path in sorted(template.folder.rglob("*")):
        inside = path.relative_to(template.folder)
        hidden = any(part.startswith((".", "__")) for part in inside.parts)
        if path.is_file() and not hidden and str(inside) not in written and path.suffix not in _DATA:
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / inside)
    (folder / "prompts").mkdir(parents=True, exist_ok=True)


def _examples(template: Campaign, folder: Path, notes: list[str]) -> _Own:
    """A few rows of the copied campaign, each with a comment."""
    comment = mark_of_row(template.name, "replace it with a row of your own")
    for name, source in (("train", template.prompts.train), ("eval", template.prompts.eval)):
        if source.file_type == "hub":
            raise ConfigError(f"{template.name} has its prompts from the hub; name a file of yours with --prompts")
        rows = file_rows(template.folder / source.source, source.file_type, [])[:EXAMPLES]
        write_rows(folder / "prompts" / f"{name}.jsonl", [{COMMENT: comment, **row.values} for row in rows])
    notes.append(
        f"prompts/train.jsonl and prompts/eval.jsonl: {EXAMPLES} example rows each; replace them with your own"
    )
    return _own({name: f"prompts/{name}.jsonl" for name in ("train", "eval")}, template.prompts.train, folder, notes)


def _prompts(template: Campaign, folder: Path, wanted: Wanted, notes: list[str]) -> _Own:
    """The user's files, or the two parts of one."""
    assert wanted.prompts is not None
    columns = dict(wanted.columns)
    named = _source(wanted.prompts, wanted.format, columns)
    rows = file_rows(wanted.prompts, named.file_type, []) if named.file_type in FILE_TYPES else []
    if not columns and rows and recognise(rows, str(wanted.prompts), named.row_format) is None:
        likely = next((each for each in (*ASKED, "instruction", "user") if each in rows[0].values), None)
        if likely is None:
            raise ConfigError(
                f"{wanted.prompts}: which column is the prompt? It has: {', '.join(rows[0].values)}; name it with e.g. "
                f"--columns prompt={longest_column(rows)} (and a good reply, if a column has one, with reference=…)"
            )
        columns = {"prompt": likely}
        notes.append(f"{wanted.prompts.name}: the column {likely!r} is read as the prompt")
    source = _source(wanted.prompts, wanted.format, columns)
    read = _read(source, rows, columns.get("id", "id"), wanted.prompts)
    if wanted.eval is not None:
        read_rows(_source(wanted.eval, wanted.format, columns), Path())
        sources = {}
        for name, path in (("train", wanted.prompts), ("eval", wanted.eval)):
            sources[name] = f"prompts/{name}{''.join(path.suffixes[-2:]) if path.suffix == '.gz' else path.suffix}"
            shutil.copyfile(path, folder / sources[name])
    else:
        least = template.promotion.min_prompts
        parts = split(rows, read, template.seed, str(wanted.prompts), least, wanted.eval_rows)
        sources = {"train": "prompts/train.jsonl", "eval": "prompts/eval.jsonl"}
        write_rows(folder / sources["train"], parts.train)
        write_rows(folder / sources["eval"], parts.eval)
        left_out = f"; {parts.near} left out, too similar to eval prompts" if parts.near else ""
        drawn = f"{counted(len(parts.train), 'row')} to train on and {len(parts.eval)} to evaluate with"
        few = "" if len(parts.eval) >= least else f"; a round is promoted from {least} on (promotion.min_prompts)"
        notes.append(
            f"{wanted.prompts.name}: {drawn}, drawn with seed {template.seed}{few}; --eval-rows N draws another "
            f"number{left_out}"
        )
    return _own(sources, source, folder, notes)


def _read(source: PromptSource, rows: Sequence[Row], id_column: str, path: Path) -> SourceRows:
    """The prompts of a file. Raises `DataError` with all that is wrong with its rows, and the ids given twice."""
    ids = [(str(row.values[id_column]), row.number) for row in rows if row.values.get(id_column) is not None]
    found, wrong = None, []
    try:
        found = read_rows(source, Path())
        ids = list(zip(found.rows["id"], found.numbers, strict=True))
    except DataError as error:
        wrong.append(str(error))
    if doubled := ids_given_twice(ids):
        wrong.append(f"{path}: id given more than once: {doubled}; each row needs its own id")
    if found is None or wrong:
        raise DataError("\n".join(wrong))
    return found


def _source(path: Path, format_: str | None, columns: Mapping[str, str]) -> PromptSource:
    return PromptSource.model_validate({"source": str(path.absolute()), "format": format_, "columns": columns})


def _own(sources: dict[str, str], how: PromptSource, folder: Path, notes: list[str]) -> _Own:
    """Read the prompts as the new campaign will."""
    split_up = all(path.endswith(".jsonl") for path in sources.values())
    format_ = how.row_format if split_up else how.format
    settings: dict[str, Any] = {
        **({"format": format_} if format_ else {}),
        **({"columns": dict(how.columns)} if how.columns else {}),
    }
    read = {name: read_rows(PromptSource(source=path, **settings), folder) for name, path in sources.items()}
    columns: set[str] = set()
    for fields in read["train"].rows["fields"]:
        columns |= {name for name, value in json.loads(fields).items() if value is not None}
    notes += [f"{sources[name]}: {found.found}" for name, found in read.items()]
    values = {name: _flow({"source": path, **settings}) if settings else path for name, path in sources.items()}
    return _Own(values, read["train"], columns, {name: found.found for name, found in read.items()})


def _rubric(template: Campaign, text: str, own: _Own, notes: list[str]) -> tuple[str, set[str]]:
    """The rubric, in which criteria that need a column that no prompt has are comments; and their names."""
    off = {}
    for place, criterion in enumerate(template.rubric.criteria):
        needed = {column.name for each in criterion.singles for column in each.judge.columns()}
        needed |= {column for each in criterion.singles for column in each.judge.shown_columns}
        if lacking := sorted(needed - own.columns):
            off[place] = criterion.name, ", ".join(lacking)
    if len(off) == len(template.rubric.criteria):
        off = {}  # a rubric needs a criterion; `rft check` says what it lacks
    text = mark_texts(text, ("criteria",), template.rubric.criteria, template.name)
    text = mark_squashes(
        text, ("criteria",), template.rubric.criteria, lambda name: mark_of_squash(name, template.name)
    )
    for place, (name, lacking_columns) in sorted(off.items(), reverse=True):
        why = f"{name} needs the column {lacking_columns}, which your prompts do not have; add it and remove the #"
        text = yaml_text.comment_out(text, ("criteria", place), why)
        notes.append(f"criterion {name} is switched off in the rubric: your prompts have no column {lacking_columns}")
    head = f"# Copied from {template.name}: change the criteria to what a good reply is to you.\n"
    return f"{first_line('rubric')}{head}{text}", {name for name, _ in off.values()}


def _unused(template: Campaign, own: _Own, off: set[str], wanted: Wanted) -> list[str]:
    """The columns of the prompts that nothing reads, in one line with what can be done about it."""
    criteria = [each.payload["judge"] for each in template.rubric.criteria if each.name not in off]
    read = columns_read(criteria)
    if read is None:
        return []
    start = template.training.warm_start
    read = [*read, *slots_in(template.policy.system or ""), REFERENCE, *([start.references] if start else [])]
    unused = sorted(own.columns - set(read) - set(wanted.columns.values()))
    if not unused:
        return []
    mapped = ",".join([*(f"{ours}={theirs}" for ours, theirs in wanted.columns.items()), "reference=COLUMN"])
    return [
        f"nothing uses the column{'s' * (len(unused) > 1)} {', '.join(unused)}. A judge shows one as "
        f"{{{unused[0]}}} in its question, a rule reads one that its settings name. If one holds good replies (or "
        f"ids, id=COLUMN), remove the folder and begin again with --columns {mapped}"
    ]


def _settings(template: Campaign, text: str, own: _Own, wanted: Wanted, notes: list[str]) -> str:
    """campaign.yaml with the new name and prompts, and without what needs anchors or references."""
    text = yaml_text.without_head(text)
    text = yaml_text.set_value(text, ("name",), wanted.name)
    text = yaml_text.set_value(text, ("description",), f"Copied from {template.name}; say here what it is for.")
    for name, source in own.sources.items():
        text = yaml_text.set_value(text, ("prompts", name), source)
        text = yaml_text.comment_after(text, ("prompts", name), own.comments[name])
    count = own.train.rows["prompt_id"].n_unique()
    if template.generations is not None:
        count = max(count // template.generations.prompts, 1) * template.generations.prompts
    if template.rollouts.prompts_per_round > count:
        text = yaml_text.set_value(text, ("rollouts", "prompts_per_round"), str(count))
        text = yaml_text.comment_after(text, ("rollouts", "prompts_per_round"), "train prompts of a round")
        notes.append(f"rollouts.prompts_per_round: {count}, since there are few train prompts")
    start = template.training.warm_start
    fields = [json.loads(each).get(start.references) if start else None for each in own.train.rows["fields"]]
    if start is not None and all(text_of(each) is None for each in fields):
        why = f"needs a reply to imitate in the column {start.references} of some train prompts"
        text = yaml_text.comment_out(text, ("training", "warm_start"), why)
        notes.append("training.warm_start is switched off: your prompts have no references")
    if template.anchors is not None:
        text = yaml_text.set_value(text, ("anchors",), "anchors.jsonl")
        for key in ("audit", "anchors"):
            text = yaml_text.comment_out(text, (key,), "needs replies that you labelled; anchors.jsonl shows how")
    text = yaml_text.put_above(text, ("policy", "system"), mark(template.name))
    held_out = "alarms", "held_out"
    text = mark_texts(text, held_out, template.held_out, template.name)
    text = mark_squashes(text, held_out, template.held_out, lambda name: mark_of_alarm(name, template.name))
    text = mark_budgets(text, template.name)
    missing = [each for each in slots_in(template.policy.system or "") if each not in own.columns]
    notes += [f"policy.system shows {{{each}}}, a column that your prompts do not have: change it" for each in missing]
    head = f"# Begun with `rft new {wanted.name} --like {template.name}`. A key that does not exist is an error.\n"
    return first_line("campaign") + head + text


def _flow(value: Any) -> str:
    """A mapping in one line of YAML; JSON is YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    plain = re.fullmatch(r"[A-Za-z_][\w./-]*", str(value)) and str(value).lower() not in ("yes", "no", "true", "null")
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
