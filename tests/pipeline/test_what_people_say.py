"""From a CSV of pairs, and from logs with thumbs, to the numbers that an audit shows with its verdicts."""

import json
from pathlib import Path

import polars as pl
import pytest

from assets.judge_audit import BINDING
from rft_pipeline.campaign import load_campaign
from rft_pipeline.cli import show_audit, show_labels
from rft_pipeline.labels.decided import decided_pairs, decided_source
from rft_pipeline.labels.feedback import draw_feedback, import_feedback
from rft_pipeline.labels.files import write_export
from rft_pipeline.labels.importing import import_labels
from rft_pipeline.labels.pair_files import write_pairs
from rft_pipeline.labels.pairs import draw_pairs, draw_train_pairs, pair_rows
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.pipeline import plan as planning
from rft_pipeline.store import Home, Record
from rft_pipeline.trainers.examples import best_and_worst
from tests.assets.test_automation import launched, look
from tests.labels.pairs import answered, taken
from tests.labels.sheets import save, table
from tests.pipeline.audited import AUDIT, verdicts
from tests.report.narrow import wrong_labels
from tests.runs import edit, made, run
from tests.upkeep.small import collected, counts, verified

PEOPLE = Path(__file__).parents[2] / "docs" / "people.md"


def said(record: Record) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(record.path("people.json").read_text(encoding="utf-8"))
    return found


def is_loved(reply: str) -> int:
    """What the judge `loved` of tests.pipeline.audited says."""
    return sum(map(ord, reply)) % 2


def test_decided_pairs_are_compared_with_each_judge_and_the_reward_and_change_no_verdict(
    audited_made: Path, tmp_path: Path
) -> None:
    home, before = Home.find(), run(audited_made)
    export = draw_pairs(load_campaign(audited_made), home, 40)
    path = write_pairs(export, home.store, tmp_path, "csv")
    answered(path, export, {number: ("tuned", "start", "tie")[number % 3] for number in range(export.drawn)})
    taken(path)
    assert decided_source("tiny", home.store, held_out=False) is None  # nothing held-out may train
    planned = planning.plan(load_campaign(audited_made), home)
    assert [step.key for step in planned.steps if step.cause] == ["tiny/judge_audit", "tiny/promotion"]
    records = run(audited_made)
    assert made(records) == ["judge_audit", "promotion"]
    found = said(records["judge_audit"])["pairs"]

    rows = pair_rows(export, home.store).with_row_index()
    preferred = rows.filter(pl.col("index") % 3 != 2)
    expected = {"loved": 0.0, "reward": 0.0}
    for index, left, right, tuned in preferred.select("index", "left_reply", "right_reply", "tuned").iter_rows():
        left_wins = (tuned == "left") == (index % 3 == 0)
        better, worse = (left, right) if left_wins else (right, left)
        # nothing that the tiny model writes is kind, so `kind` ties; the rule wants an e; all weigh a third
        apart = {"loved": is_loved(better) - is_loved(worse)}
        apart["reward"] = apart["loved"] + ("e" in better) - ("e" in worse)
        for name, difference in apart.items():
            expected[name] += 1.0 if difference > 0 else 0.5 if difference == 0 else 0.0
    assert found["decided"] == preferred.height > 0
    share = {name: found["agreement"][name]["share"]["mean"] for name in ("kind", "loved", "reward")}
    assert share == {"kind": 0.5, **{name: pytest.approx(total / preferred.height) for name, total in expected.items()}}

    assert verdicts(records["judge_audit"]) == verdicts(before["judge_audit"])
    assert records["judge_audit"].content_hash == before["judge_audit"].content_hash
    assert records["judge_audit"].rows["made"] == 0  # the eval report judged these replies
    assert BINDING.summary(records["judge_audit"]).count(f" of {preferred.height} decided pairs") == 1
    page = records["judge_audit"].path("judge_audit.html").read_text(encoding="utf-8")
    assert "Pairs that people decided" in page
    assert wrong_labels(page) == []
    assert verified().findings == []
    assert counts(collected(yes=False)) == {"unneeded records": 1}  # the earlier promotion


def test_the_majority_decides_a_pair_and_a_tie_or_a_draw_does_not(audited_made: Path, tmp_path: Path) -> None:
    home = Home.find()
    export = draw_train_pairs(load_campaign(audited_made), home, 3)
    for annotator, answers in (("Ann", "left left tie"), ("Ben", "left right tie"), ("Cy", "right tie left")):
        path = write_pairs(export, home.store, tmp_path / annotator, "csv")
        answered(path, export, dict(enumerate(answers.split())), annotator)
        taken(path)
    (decided,) = decided_pairs("tiny", home.store, held_out=False).iter_rows(named=True)
    first = pair_rows(export, home.store).row(0, named=True)
    assert (decided["better"], decided["worse"]) == (first["left"], first["right"])
    assert (decided["better_reply"], decided["worse_reply"]) == (first["left_reply"], first["right_reply"])


def test_dpo_prefers_what_people_prefer_among_the_rounds_rollouts(tiny_campaign: Path, tmp_path: Path) -> None:
    file, home = tiny_campaign / "campaign.yaml", Home.find()
    edit(file, "training.method", "dpo")
    edit(file, "training.dpo.margin", 0.0)
    edit(file, "rounds", 1)
    wanted = ["prompts", "rubric", "policy", *(f"round_1/{name}" for name in ("rollouts", "judge_scores"))]
    wanted += ["round_1/reward_batches", "round_1/checkpoints"]
    before = run(tiny_campaign, wanted)
    campaign = load_campaign(tiny_campaign)
    export = draw_train_pairs(campaign, home, 2)
    path = write_pairs(export, home.store, tmp_path, "csv")
    answered(path, export, {0: "left", 1: "right"})
    seen = look(None).cursor
    taken(path)
    assert launched(look(seen))[0][0] == "pairs of train prompts changed"
    records = run(tiny_campaign, wanted)
    assert made(records) == ["round_1/reward_batches", "round_1/checkpoints"]
    assert records["round_1/checkpoints"].content_hash != before["round_1/checkpoints"].content_hash
    assert records["round_1/reward_batches"].rows["pairs_of_people"] == 2

    batch = pl.read_parquet(records["round_1/reward_batches"].path("reward_batches.parquet"))
    tokens = dict(batch.select("rollout_id", "tokens").iter_rows())
    pairs = {pair.name: (pair.chosen, pair.rejected) for pair in best_and_worst(batch, campaign.training)}
    first, second = pair_rows(export, home.store).iter_rows(named=True)
    assert pairs[first["prompt_id"]] == (tokens[first["left"]], tokens[first["right"]])
    assert pairs[second["prompt_id"]] == (tokens[second["right"]], tokens[second["left"]])
    others = {
        pair.name: (pair.chosen, pair.rejected) for pair in best_and_worst(batch.drop("preferred"), campaign.training)
    }
    by_people = {first["prompt_id"], second["prompt_id"]}
    assert {name: each for name, each in pairs.items() if name not in by_people} == {
        name: each for name, each in others.items() if name not in by_people
    }
    assert made(run(tiny_campaign, wanted)) == []


def block(language: str) -> str:
    """The first block of this language in the section about feedback of the documentation."""
    section = PEOPLE.read_text(encoding="utf-8").partition("\n## Feedback from logs\n")[2]
    return section.partition(f"```{language}\n")[2].partition("```")[0]


def logged(folder: Path) -> None:
    """The example of the documentation."""
    with (folder / "campaign.yaml").open("a", encoding="utf-8") as file:
        file.write(block("yaml"))
    (folder / "logs").mkdir()
    (folder / "logs" / "november.jsonl").write_text(block("json"), encoding="utf-8")


def test_feedback_is_compared_with_the_judges_overall_and_by_week(
    audited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(audited)
    before = run(audited, AUDIT)["judge_audit"]
    seen = look(None).cursor
    stored = import_feedback(load_campaign(audited), Home.find())
    assert {name: stored.counts[name] for name in ("rows", "opted_out", "liked", "disliked", "kept")} == {
        "rows": 8,
        "opted_out": 1,
        "liked": 4,
        "disliked": 2,
        "kept": 6,
    }
    assert launched(look(seen))[0][0] == "feedback of users changed"
    record = run(audited, AUDIT)["judge_audit"]
    found = said(record)["feedback"]
    # kind: the liked replies score 1, 1, 1, 0 and the disliked ones 0, 0: 6 pairs in order, 2 ties
    assert found["agreement"]["kind"]["agreement"]["mean"] == pytest.approx((6 + 2 / 2) / 8)
    assert [(week["week"], week["liked"], week["disliked"]) for week in found["weeks"]] == [
        ("2026-W47", 2, 1),
        ("2026-W48", 2, 1),
    ]
    assert verdicts(record) == verdicts(before)
    assert record.content_hash == before.content_hash
    metadata = BINDING.metadata(record)
    assert "2026-W47" in metadata["agreement_with_users"].md_str
    page = record.path("judge_audit.html").read_text(encoding="utf-8")
    assert "Feedback of users" in page
    assert wrong_labels(page) == []
    assert made(run(audited, AUDIT)) == []
    again = import_feedback(load_campaign(audited), Home.find())
    assert made(run(audited, AUDIT)) == []  # the same feedback again

    show_labels.imported_feedback(load_campaign(audited), again)
    show_audit.audited(Home.find(), load_campaign(audited), as_json=False)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] in " ".join(block("console").split())
    kind = next(line for line in printed if line.split()[:1] == ["kind"] and line.split()[-1] == "4/2")
    assert kind.split()[1].startswith("0.88")
    assert any(line.split()[:1] == ["2026-W47"] and line.split()[-1] == "2/1" for line in printed)
    show_audit.audited(Home.find(), load_campaign(audited), as_json=True)
    assert json.loads(capsys.readouterr().out)["feedback"] == found


def test_a_logged_reply_counts_as_an_anchor_once_a_person_labelled_it(audited: Path, tmp_path: Path) -> None:
    logged(audited)
    home, campaign = Home.find(), load_campaign(audited)
    import_feedback(campaign, home)
    export = draw_feedback(campaign, home, 4)
    assert (export.drawn, export.population, export.logged) == (4, 6, True)
    path = write_export(export, home.store, tmp_path, "csv")
    assert "thumbs" not in path.read_text(encoding="utf-8")
    rows = table(path)
    for row in rows[1:]:
        row[3], row[-3] = "yes", "Anna"
    save(path, rows)
    assert import_labels(campaign, home.store, read_filled(path), skip_wrong=False).new == 4
    record = run(audited, AUDIT)["judge_audit"]
    people = verdicts(record)["kind"]["from_people"]
    assert people["measured"] + people["fitted"] == 4
    assert draw_feedback(campaign, home, 4).drawn == 2  # those that nobody labelled
    assert verified().findings == []
    assert sum(counts(collected(yes=False)).values()) == 0
