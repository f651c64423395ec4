"""Runs of the tiny campaign whose model calls are seen where they are made, and which may be killed at any point.

What is seen goes line by line into a file, so that it outlives a kill. MLflow and the report's page are left out: they
ask no model and take most of a small campaign's time.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline import models
from rft_pipeline.campaign import load_campaign
from rft_pipeline.engines import load
from rft_pipeline.errors import GateError
from rft_pipeline.judges import PROTOCOLS, likelihood
from rft_pipeline.pipeline import Pipeline, runner
from rft_pipeline.progress import Progress
from rft_pipeline.stages import eval_reports, job, promotion, waiting
from rft_pipeline.stages.graph import nodes
from rft_pipeline.stages.job import Job
from rft_pipeline.store import Home, Record, RecordStore, Table
from tests.pipeline.bare import NoTracker
from tests.pipeline.stage_process import PRELOADED

CHUNK = 3
"""Judgements between two appends: a kill loses no more."""


@dataclass
class Seen:
    """What one run asked of the models, by stage."""

    asked: dict[str, list[str]] = field(default_factory=dict)
    """The rollouts and judgements made: each by what it follows from."""
    kept: dict[str, list[str]] = field(default_factory=dict)
    """Those that were stored before the run ended or was killed."""
    made: list[str] = field(default_factory=list)
    """Stages that left a new record."""
    loaded: list[str] = field(default_factory=list)
    """Stages that loaded an engine, one entry a load."""
    scored: int = 0
    """Requests that a judge's engine has scored."""

    @classmethod
    def read(cls, path: Path) -> "Seen":
        seen, stage = cls(), ""
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            ((what, value),) = json.loads(line).items()
            match what:
                case "stage":
                    stage = value
                case "asked":
                    seen.asked.setdefault(stage, []).append(value)
                case "kept":
                    assert value == len(seen.asked[stage]) - len(seen.kept.get(stage, []))
                    seen.kept[stage] = list(seen.asked[stage])
                case "made":
                    seen.made.append(stage)
                case "loaded":
                    seen.loaded.append(stage)
                case "scored":
                    seen.scored += value
        return seen


Say = Callable[[str, Any], None]


def completion_key(weights: str, messages: Sequence[Sequence[str]], sampling: dict[str, Any], seed: int) -> str:
    """A rollout by what it follows from."""
    return json.dumps(["rollout", weights, [list(turn) for turn in messages], sampling, seed], sort_keys=True)


def judgement_key(judge: dict[str, Any], version: int, model: str, shown: Sequence[Any]) -> str:
    """A judgement by what it follows from; `shown` is the prompt and the completion, for a rule also how it ended. It
    is the number before the squash."""
    judge = {name: value for name, value in judge.items() if name != "squash"}
    return json.dumps(["judgement", judge["protocol"], judge, version, model, *shown], sort_keys=True)


def protocol_of(key: str) -> str | None:
    """The protocol of a judgement's key, None for a rollout's."""
    kind, protocol, *_ = json.loads(key)
    return protocol if kind == "judgement" else None


class _Engine:
    """An engine that says what it is asked."""

    def __init__(self, inner: Any, weights: str, say: Say) -> None:
        self.inner, self.weights, self.say = inner, weights, say

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def generate(self, requests: Sequence[Any], sampling: Any) -> Iterator[list[Any]]:
        by_id = {request.request_id: request for request in requests}
        for completions in self.inner.generate(requests, sampling):
            for done in completions:
                request = by_id[done.request_id]
                key = completion_key(self.weights, request.messages, sampling.model_dump(mode="json"), request.seed)
                self.say("asked", key)
            yield completions

    def score(self, requests: Sequence[Any]) -> Any:
        results = self.inner.score(requests)
        self.say("scored", len(requests))
        return results

    def score_parts(self, parts: Any) -> Any:
        return map(self.score, parts)


class _Judge:
    """A judge that says what it has judged."""

    def __init__(self, inner: Any, config: Any, model: str, say: Say) -> None:
        self.inner, self.config, self.model, self.say = inner, config.model_dump(mode="json"), model, say

    def score(self, rollouts: Sequence[Any]) -> Any:
        version = PROTOCOLS[self.config["protocol"]].VERSION
        for together in self.inner.score(rollouts):
            for place, _ in together:
                shown = [rollouts[place].prompt, rollouts[place].completion]
                if self.model == "rule":
                    shown.append(rollouts[place].finish_reason)
                self.say("asked", judgement_key(self.config, version, self.model, shown))
            yield together


def run(folder: Path, versions: dict[str, int], seen: Path, kill_at: int = 0) -> tuple[dict[str, Record], str]:
    """All stages, in the current home, up to one that refuses; the records by name, and why it refuses.

    The process kills itself at the `kill_at`-th point where something has just been, or is just about to be, stored.
    """
    points = 0

    def point() -> None:
        nonlocal points
        points += 1
        if points == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch, seen.open("a", encoding="utf-8") as lines:

        def say(what: str, value: Any) -> None:
            lines.write(json.dumps({what: value}) + "\n")
            lines.flush()

        _watch(patch, say, point)
        for protocol, version in versions.items():
            patch.setattr(PROTOCOLS[protocol], "VERSION", version)
        campaign = load_campaign(folder)
        pipeline = Pipeline(Home.find())
        records: dict[str, Record] = {}
        for node in nodes(campaign):
            if node.stage == "promotion":  # whom it compares with is the home's history, not the files' content
                continue
            say("stage", node.name)
            try:
                records[node.name] = pipeline.run(campaign, node.name)
            except GateError as error:
                return records, str(error)
            if not records[node.name].cached:
                say("made", node.name)
        return records, ""


def _watch(patch: pytest.MonkeyPatch, say: Say, point: Callable[[], None]) -> None:
    load_engine, make_judge = load.load_engine, job.make_judge
    append, commit, make_current, advance = Table.append, RecordStore.commit, RecordStore.make_current, Progress.advance

    def engine(folder: Path, runtime: Any) -> Any:
        say("loaded", str(folder))
        return _Engine(load_engine(folder, runtime), models.content_hash(folder), say)

    def append_and_say(table: Table, rows: Any) -> None:
        point()
        append(table, rows)
        say("kept", rows.height)
        point()

    def commit_between_points(store: RecordStore, record: Record, workdir: Path) -> Record:
        point()
        return commit(store, record, workdir)

    def make_current_between_points(store: RecordStore, record: Record) -> None:
        point()
        make_current(store, record)
        point()

    def advance_and_point(progress: Progress, n: int, what: str = "") -> None:
        advance(progress, n, what)
        if progress.report().what == "steps":
            point()

    def write_report(job: Job, report: dict[str, Any], _: Any) -> None:
        for name in ("report.json", "report.html"):
            (job.workdir / name).write_text(json.dumps(report), encoding="utf-8")

    patch.setattr(load, "load_engine", engine)

    def judge(config: Any, engines: Any) -> Any:
        model = "rule" if config.protocol == "rule" else engines.scorer(config.by).weights
        return _Judge(make_judge(config, engines), config, model, say)

    patch.setattr(job, "make_judge", judge)
    patch.setattr(waiting, "ROWS", CHUNK)
    patch.setattr(likelihood, "CHUNK", CHUNK)
    patch.setattr(Table, "append", append_and_say)
    patch.setattr(RecordStore, "commit", commit_between_points)
    patch.setattr(RecordStore, "make_current", make_current_between_points)
    patch.setattr(Progress, "advance", advance_and_point)
    patch.setattr(eval_reports, "_write_report", write_report)
    patch.setattr(promotion, "_write_page", lambda job, decided: (job.workdir / promotion.PAGE).touch())
    patch.setattr(runner, "Tracker", NoTracker)


def run_and_be_killed(folder: Path, versions: dict[str, int], seen: Path, kill_at: int) -> bool:
    """The same in a process of its own, with the environment in force; whether it was killed before its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    where = {name: os.environ[name] for name in ("RFT_HOME", "RFT_DATA")}
    process = context.Process(target=_main, args=(where, folder, versions, seen, kill_at))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _main(where: dict[str, str], folder: Path, versions: dict[str, int], seen: Path, kill_at: int) -> None:
    os.environ.update(where)
    run(folder, versions, seen, kill_at)


@contextmanager
def living_in(root: Path, data: Path) -> Iterator[None]:
    """A home and a folder of campaigns in force."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RFT_HOME", str(root))
        patch.setenv("RFT_DATA", str(data))
        yield
