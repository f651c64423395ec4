"""`rft labels` as a user meets it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.labels.queues import queues_of
from rft_pipeline.store import Home, labels_table, preferences_table
from tests.cli.small import Rft, assert_one_message, printed
from tests.labels import pages
from tests.runs import edit


def fill(path: Path, cell: str) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    for number, row in enumerate(rows[1:]):
        row[3:5] = ["no" if number % 3 else "yes", cell]
        row[7] = "[bold]Anna"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)


def test_export_fill_in_import(rft: Rft, finished_copy: Path, tmp_path: Path) -> None:
    said = rft("labels", "export", "tiny", "--n", "12", "--out", str(tmp_path / "out"))
    assert said.code == 0
    (path,) = (tmp_path / "out").iterdir()
    assert path.name.startswith("labels_tiny_")
    assert said.out.startswith("12 of 32 rollouts, ")
    assert f" prompts: {path}\n" in said.out
    assert f"rft labels import tiny {path}" in said.out
    fill(path, "0.5")
    said = rft("labels", "import", "tiny", str(path))
    assert said.code == 0
    counts, heading, *rows = said.out.splitlines()
    assert counts == "24 new labels, 0 changed, 0 unchanged by [bold]Anna; 0 rows without a label, 0 left out"
    assert heading.split("  ")[0].strip() == "mean"
    assert [row.split()[:2] for row in rows[:3]] == [["polite", "12"], ["relevant", "12"], ["reward", "12"]]
    assert all(row.endswith("too few labels  too few labels ") for row in rows[:3])
    assert rows[3] == "people's means need 20 labelled rollouts; the labels count in an audit all the same"
    again = printed("labels_import", rft("labels", "import", "tiny", str(path), "--json"))["labels"]
    assert (again["new"], again["changed"], again["unchanged"]) == (0, 0, 24)
    assert again["estimates"]["relevant"]["human"] == {"mean": pytest.approx(0.5), "lower95": None, "upper95": None}


def test_labels_of_rollouts_that_no_present_round_has_are_not_called_none(
    rft: Rft, finished_copy: Path, tmp_path: Path
) -> None:
    rft("labels", "export", "tiny", "--n", "12", "--delimiter", ";", "--out", str(tmp_path / "out"))
    (path,) = (tmp_path / "out").iterdir()
    path.write_text(path.read_text(encoding="utf-8").replace('";"', '","'), encoding="utf-8")
    fill(path, "0.5")
    rft("labels", "import", "tiny", str(path))
    for current in Home.find().store.glob("tiny/round_*/judge_scores/current"):
        current.unlink()
    assert rft("labels", "show", "tiny").out == (
        "12 labelled rollouts of earlier rounds, before an edit: an audit counts their labels, means of the present "
        "rounds do not\n"
    )
    said = rft("labels", "export", "tiny", "--format", "jsonl", "--delimiter", ";")
    assert (said.code, "--delimiter is for a CSV" in said.err) == (2, True)


def test_held_out_replies_go_out_and_what_their_labels_are_worth_is_said(
    rft: Rft, finished_copy: Path, tmp_path: Path
) -> None:
    edit(finished_copy / "campaign.yaml", "promotion.min_labelled_prompts", 6)
    said = rft("labels", "export", "tiny", "--held-out", "--n", "10", "--out", str(tmp_path / "out"))
    (path,) = (tmp_path / "out").iterdir()
    assert said.out.startswith(f"9 of 18 replies to held-out prompts, 3 prompts: {path}\n")
    fill(path, "0.5")
    said = rft("labels", "import", "tiny", str(path))
    assert said.out.splitlines()[1:] == [
        "3 held-out prompts have labels of every reply that the promotion compares; from 6 on "
        "(promotion.min_labelled_prompts) they correct the judges in the promotion: rft labels export tiny --held-out"
    ]
    rft("labels", "export", "tiny", "--held-out", "--n", "10", "--out", str(tmp_path / "more"))
    (path,) = (tmp_path / "more").iterdir()
    fill(path, "0.5")
    said = rft("labels", "import", "tiny", str(path))
    assert said.out.splitlines()[1:] == [
        "6 held-out prompts have labels of every reply that the promotion compares; they correct the judges in the "
        "promotion: rft run tiny"
    ]


def test_wrong_rows_are_one_message_and_can_be_left_out(rft: Rft, finished_copy: Path, tmp_path: Path) -> None:
    drawn = printed("labels_export", rft("labels", "export", "tiny", "--n", "4", "--out", str(tmp_path), "--json"))
    fill(Path(drawn["file"]), "[red]perhaps")
    assert_one_message(
        rft("labels", "import", "tiny", drawn["file"]),
        'row 2: relevant: "[red]perhaps" is not a label',
        "Nothing was imported",
    )
    said = rft("labels", "import", "tiny", drawn["file"], "--skip-wrong")
    assert said.code == 0
    assert said.err.count("left out") == 4
    assert said.out == "0 new labels, 0 changed, 0 unchanged; 0 rows without a label, 4 left out\n"


def test_a_campaign_that_is_not_there_is_one_message(rft: Rft, finished_home: Path) -> None:
    assert_one_message(rft("labels", "export", "tinny"), "no campaign 'tinny'", "there are: tiny")
    assert_one_message(rft("labels", "import", "tinny", "x.csv"), "no campaign 'tinny'")


def prefer(path: Path, answers: list[str]) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    for row, answer in zip(rows[1:], answers, strict=True):
        row[4:6] = [answer, "[bold]Anna"]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)


def test_pairs_go_out_and_whom_people_prefer_is_said(rft: Rft, finished_copy: Path, tmp_path: Path) -> None:
    said = rft("labels", "export", "tiny", "--pairs", "40", "--out", str(tmp_path / "out"))
    (path,) = (tmp_path / "out").iterdir()
    assert said.out.splitlines() == [
        f"6 pairs of replies, base and round 1 in hidden order, of 6 held-out prompts: {path}",
        "Write left, right or tie under preferred, and your name as annotator; leave a cell empty if you cannot tell. "
        f"Then: rft labels import tiny {path}",
    ]
    prefer(path, ["tie", "tie", "tie", "tie", "TIE", ""])
    said = rft("labels", "import", "tiny", str(path))
    assert said.out.splitlines() == [
        "5 new answers, 0 changed, 0 unchanged by [bold]Anna; 1 row without an answer, 0 left out",
        "People preferred neither round 1 nor base: 5 ties, sign test p = 1, by 1 person",
        "  from 20 decided pairs on (promotion.min_decided_pairs) this counts in the promotion: "
        "rft labels export tiny --pairs 20",
    ]
    shown = printed("labels_show", rft("labels", "show", "tiny", "--json"))
    (found,) = shown["preferences"]
    assert (found["policy"], found["over"], found["ties"], found["share"]["mean"]) == ("round 1", "base", 5, None)
    assert rft("labels", "show", "tiny").out.startswith("People preferred neither round 1 nor base: 5 ties")
    again = printed("labels_import", rft("labels", "import", "tiny", str(path), "--json"))["pairs"]
    assert (again["new"], again["unchanged"], again["preferences"]) == (0, 5, shown["preferences"])


def test_the_report_says_whom_people_prefer(rft: Rft, finished_copy: Path, tmp_path: Path) -> None:
    exported = printed(
        "labels_export", rft("labels", "export", "tiny", "--pairs", "3", "--out", str(tmp_path), "--json")
    )
    path = Path(exported["file"])
    prefer(path, ["tie"] * 3)
    rft("labels", "import", "tiny", str(path))
    assert "\nPeople preferred neither round 1 nor base: 3 ties, sign test p = 1\n" in rft("report", "tiny").out
    (found,) = json.loads(rft("report", "tiny", "--json").out)["preferences"]
    drawn = printed(
        "labels_export",
        rft("labels", "export", "tiny", "--pairs", "2", "--train", "--out", str(tmp_path), "--json"),
    )
    assert (drawn["drawn"], drawn["held_out"]) == (2, False)
    assert (found["wins"], found["ties"], found["said"]) == (0, 3, "people preferred neither round 1 nor base: 3 ties")


def test_options_of_pairs_need_pairs(rft: Rft, finished_home: Path) -> None:
    assert rft("labels", "export", "tiny", "--of", "base").code == 2
    assert rft("labels", "export", "tiny", "--pairs", "4", "--held-out").code == 2


def test_labels_and_pairs_through_pages_of_mlflow(rft: Rft, finished_copy: Path) -> None:
    assert "belong together" in rft("labels", "export", "tiny", "--to", "mlflow").err
    assert "--from mlflow" in rft("labels", "import", "tiny").err
    said = rft("labels", "export", "tiny", "--n", "4", "--to", "mlflow", "--annotator", "Ines")
    assert said.out.startswith("4 of 32 rollouts, ")
    compared = rft("labels", "export", "tiny", "--pairs", "3", "--to", "mlflow", "--annotator", "Ines")
    assert compared.code == 0
    labels_page, pairs_page = sorted(queues_of("tiny", Home.find().store), key=lambda queue: queue.pairs)
    for page, told in ((labels_page, said), (pairs_page, compared)):
        address = f"/#/experiments/{page.experiment_id}/review-queue?selectedQueueId={page.queue_id}"
        assert f"{address}&startReview=true&workflowType=genai\n" in told.out
        assert "rft labels import tiny --from mlflow" in told.out
    pages.answer(labels_page, 0, polite=True, relevant=False)
    pages.answer(pairs_page, 0, preferred="left")
    pages.answer(pairs_page, 1, preferred="tie", note="both are fine")
    done = printed("labels_import", rft("labels", "import", "tiny", "--from", "mlflow", "--json"))
    assert {kind: (each["new"], each["empty_rows"]) for kind, each in done.items() if each} == {
        "labels": (2, 3),
        "pairs": (2, 1),
    }
    again = rft("labels", "import", "tiny", "--from", "mlflow")
    assert "0 new labels, 0 changed, 2 unchanged by Ines" in again.out
    assert "0 new answers, 0 changed, 2 unchanged by Ines" in again.out
    answers = preferences_table(Home.find().store).rows().collect()
    assert sorted(answers.select("preferred", "note").rows()) == [("left", ""), ("tie", "both are fine")]


def test_no_label_is_stored_while_an_answer_to_a_pair_is_wrong(rft: Rft, finished_copy: Path) -> None:
    for what in (("--n", "4"), ("--pairs", "3")):
        rft("labels", "export", "tiny", *what, "--to", "mlflow", "--annotator", "Ines")
    labels_page, pairs_page = sorted(queues_of("tiny", Home.find().store), key=lambda queue: queue.pairs)
    pages.answer(labels_page, 0, polite=True)
    pages.answer(pairs_page, 0, preferred="maybe")
    assert_one_message(rft("labels", "import", "tiny", "--from", "mlflow"), 'preferred: "maybe" is not an answer')
    assert labels_table(Home.find().store).rows().collect().is_empty()
    assert rft("labels", "import", "tiny", "--from", "mlflow", "--skip-wrong").code == 0
    assert labels_table(Home.find().store).rows().collect().height == 1


def test_feedback_is_imported_from_logs_and_drawn_for_people(rft: Rft, finished_copy: Path, tmp_path: Path) -> None:
    def status() -> Any:
        return json.loads(rft("status", "tiny", "--json").out)["campaigns"][0]

    assert_one_message(rft("labels", "import", "tiny", "--from", "logs"), "feedback: is missing")
    columns = {"feedback": "thumbs", "reply": "answer"}
    edit(finished_copy / "campaign.yaml", "feedback", {"logs": "logs.jsonl", "columns": columns})
    rows = [{"prompt": f"Hi {i}", "answer": f"Mail me@shop{i}.org", "thumbs": i % 3 > 0} for i in range(9)]
    (finished_copy / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = rft("labels", "import", "tiny", "--from", "logs")
    assert said.out.splitlines()[0] == (
        "9 replies with feedback in 9 logged rows, 6 liked and 3 disliked; 9 of 9 different ones kept; "
        "9 × email redacted"
    )
    said = rft("labels", "export", "tiny", "--from-feedback", "6", "--out", str(tmp_path / "out"))
    (path,) = (tmp_path / "out").iterdir()
    assert said.out.startswith(f"6 of 9 logged replies, 6 prompts: {path}\n")
    text = path.read_text(encoding="utf-8")
    assert "Mail <email>" in text
    assert "shop" not in text
    assert "true" not in text.casefold()
    (wanted,) = status()["labels_wanted"]
    assert wanted.startswith("6 logged replies were exported on ")
    fill(path, "0.5")
    said = rft("labels", "import", "tiny", str(path))
    assert status()["labels_wanted"] == []
    # no round has these replies, so they estimate nothing about its rollouts
    counts = "12 new labels, 0 changed, 0 unchanged by [bold]Anna; 0 rows without a label, 0 left out"
    assert said.out.splitlines() == [counts]
    assert rft("labels", "show", "tiny").out.startswith("9 replies with feedback in 9 logged rows")
    assert printed("labels_show", rft("labels", "show", "tiny", "--json"))["feedback"]["liked"] == 6
    (finished_copy / "logs.jsonl").write_text("".join(json.dumps(row | {"thumbs": "so so"}) + "\n" for row in rows[:1]))
    with (finished_copy / "logs.jsonl").open("a") as file:
        file.write(json.dumps(rows[1]) + "\n")
    assert_one_message(rft("labels", "import", "tiny", "--from", "logs"), "line 1: thumbs: must be up or down")
    said = rft("labels", "import", "tiny", "--from", "logs", "--skip-wrong", "--json")
    feedback = printed("labels_import", said)["feedback"]
    assert (feedback["replies"], len(feedback["rejected"])) == (1, 1)
