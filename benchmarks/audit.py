"""Audit: how long does `judge_audit` take when every judgement is there already?

A campaign of C criteria and N anchors, labelled for each, is made in a temporary folder; a stand-in judge, right nine
times in ten, answers once, and its judgements are kept. Then the stage is made again from them: reading, measuring with
the bootstrap of every interval, the page, the record. Nothing is asked meanwhile.
"""

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer
import yaml
from rich.table import Table
from safetensors.numpy import save_file

from benchmarks.common import Goal, conclude, run, say
from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.cli import console
from rft_pipeline.engines import ChatReply, ChatRequest
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home, Record

GOAL = 20.0
"""Most seconds of the stage."""
NAME = "audited"
REPLIES = 5
"""Anchors of a prompt."""
RIGHT = 0.9


def audit(
    criteria: Annotated[int, typer.Option(min=1, help="Criteria, each with a judge of its own.")] = 10,
    anchors: Annotated[int, typer.Option(min=50, help="Labelled replies.")] = 500,
) -> None:
    """Seconds of the stage with cached judgements."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home", Path(folder) / "data")
        campaign = write_campaign(home.data / NAME, criteria, anchors)
        pipeline = Pipeline(home)
        pipeline.run(campaign, "rubric")
        filled, seconds = made(pipeline, campaign, StandIn())
        say(f"{filled.rows['judgements']:,} replies judged, {filled.rows['made']:,} judgements made in {seconds:.1f} s")
        shutil.rmtree(filled.folder)
        record, seconds = made(pipeline, campaign, None)
    if record.rows["made"] or record.content_hash != filled.content_hash:
        raise AssertionError("the second audit judged again, or found something else")
    table = Table(title="judge_audit, all judgements cached")
    for column in ("criteria", "anchors", "judgements", "resamples", "seconds"):
        table.add_column(column, justify="right")
    assert campaign.audit is not None
    found = record.rows["judgements"]
    table.add_row(f"{criteria}", f"{anchors}", f"{found:,}", f"{campaign.audit.resamples:,}", f"{seconds:.1f}")
    console.out.print(table)
    conclude([Goal("the stage", f"{seconds:.1f} s", f"< {GOAL:.0f} s", seconds < GOAL)])


def made(pipeline: Pipeline, campaign: Campaign, judge: "StandIn | None") -> tuple[Record, float]:
    """The stage's record, and its seconds; without a judge nothing may be asked."""

    def asker(by: str) -> "StandIn":
        assert judge is not None, "a judgement is missing"
        return judge

    with patch.object(JudgeEngines, "asker", side_effect=asker):
        began = time.perf_counter()
        record = pipeline.run(campaign, "judge_audit")
        return record, time.perf_counter() - began


class StandIn:
    """Answers whether a reply does what the question names; which answers are wrong follows from the texts."""

    control_tokens: frozenset[str] = frozenset()

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        for request in requests:
            text = request.messages[-1][1]
            wanted = re.search(r"Does it do (\w+)\?", text)
            assert wanted is not None
            does = f" {wanted[1]}," in text
            share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
            yes = 0.5 + (0.5 if does == (share < RIGHT) else -0.5) * (0.2 + 0.7 * (share * 97 % 1))
            yield ChatReply(
                request.request_id, "", words={"Yes": float(np.log(yes)), "No": float(np.log(1 - yes))}, tokens=1
            )


def write_campaign(folder: Path, criteria: int, anchors: int) -> Campaign:
    """Each reply lists what it does, half of all there is; a label says whether a criterion's thing is among it."""
    (folder / "model").mkdir(parents=True)
    save_file({"weight": np.zeros(2, dtype=np.float32)}, folder / "model" / "model.safetensors")
    names = [f"c{number}" for number in range(criteria)]
    judged = [{"name": name, "judge": {"protocol": "binary", "question": f"Does it do {name}?"}} for name in names]
    settings = {
        "name": NAME,
        "policy": {"model": "model"},
        "judge": {"model": "model"},
        "prompts": {"train": "train.jsonl", "eval": "eval.jsonl"},
        "anchors": "anchors.jsonl",
        "audit": {},
    }
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(anchors):
        does = rng.random(criteria) < 0.5
        said = " ".join(f"{name}," for name, there in zip(names, does, strict=True) if there)
        rows.append(
            {
                "prompt_id": f"p{number // REPLIES}",
                "prompt": f"Order {number // REPLIES} is late.",
                "completion": f"Reply {number} does {said} and {'so on ' * int(rng.integers(1, 20))}.",
                "labels": dict(zip(names, does.astype(int).tolist(), strict=True)),
            }
        )
    write_lines(folder / "anchors.jsonl", rows)
    for split in ("train", "eval"):
        write_lines(folder / f"{split}.jsonl", [{"prompt": f"Order {split} is late."}])
    for name, content in (("campaign", settings), ("rubric", {"criteria": judged})):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_campaign(folder)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    run(audit)
