"""`rft new`: a campaign of one's own, from a file of one's own to a green check."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from rft_pipeline.campaign import PromptSource, load_campaign
from rft_pipeline.prompts.reading import read_rows, read_source
from rft_pipeline.scaffold import yaml_text
from rft_pipeline.scaffold.schema import schema
from rft_pipeline.scaffold.split import eval_share
from tests.cli.small import ROOT, Rft, assert_one_message

TOPICS = ("refund", "delivery", "warranty", "invoice", "password", "colour", "assembly", "return", "gift", "stock")
FEELINGS = ("I am angry about", "Could you help me with", "My mother asks about")


@pytest.fixture
def rft(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Rft:
    monkeypatch.setenv("RFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RFT_DATA", str(tmp_path / "data"))
    return Rft(monkeypatch, capfd)


def table(path: Path) -> Path:
    rows = [
        f'T{a}{b},"{feeling} the {topic} of order {a}{b}?"'
        for a, feeling in enumerate(FEELINGS)
        for b, topic in enumerate(TOPICS)
    ]
    path.write_text("\n".join(["ticket,question", *rows]) + "\n", encoding="utf-8")
    return path


def chats(path: Path) -> Path:
    turns = [(f"{feeling} the {topic}", f"The {topic} is fine.") for feeling in FEELINGS for topic in TOPICS]
    rows = [{"conversations": [{"from": "human", "value": a}, {"from": "gpt", "value": b}]} for a, b in turns]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_a_table_of_ones_own_becomes_a_campaign_that_checks(rft: Rft, tmp_path: Path) -> None:
    said = rft("new", "desk", "--like", "support_reply", "--prompts", str(table(tmp_path / "t.csv")))
    assert (said.code, said.out.splitlines()[-1]) == (0, f"ok, {said.err.count('warning ')} warnings"), said.err
    folder = tmp_path / "data" / "desk"
    campaign = load_campaign(folder)
    parts = [set(read_source(each, folder)["id"]) for each in (campaign.prompts.train, campaign.prompts.eval)]
    assert parts[0].isdisjoint(parts[1])
    assert (len(parts[0]), len(parts[1])) == (10, 20)
    assert "asks_order_number" not in campaign.rubric.names
    text = (folder / "rubric.yaml").read_text(encoding="utf-8")
    assert "nothing uses the column ticket." in said.err
    assert "--columns reference=COLUMN" in said.err
    mapped = rft(
        "new", "shop", "--like", "support_reply", "--prompts", str(tmp_path / "t.csv"), "--columns", "id=ticket"
    )
    assert "nothing uses the column" not in mapped.err
    assert said.err.splitlines()[-1].endswith("`rft check desk`, `rft plan desk`, `rft run desk --rounds 1`")
    assert "# asks_order_number needs the column needs_order_number" in text
    assert text.startswith("# yaml-language-server: $schema=../.schema/rubric.json\n")
    assert (folder.parent / ".schema" / "rubric.json").is_file()


def test_a_table_without_a_column_that_is_likely_the_prompt_asks_for_it(rft: Rft, tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv")
    file.write_text(file.read_text(encoding="utf-8").replace("question", "review"), encoding="utf-8")
    said = rft("new", "desk", "--like", "support_reply", "--prompts", str(file))
    assert_one_message(
        said, f"{file}: which column is the prompt? It has: ticket, review; name it with e.g. --columns prompt=review"
    )
    said = rft("new", "desk", "--like", "support_reply", "--prompts", str(file), "--columns", "prompt=text")
    assert "or `--columns prompt=review` of rft new" in said.err
    assert not (tmp_path / "data" / "desk").exists()


def test_all_that_is_wrong_with_a_table_is_said_at_once_and_empty_rows_are_left_out(rft: Rft, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('id,prompt\n1,One?\n2,\n3,"a "b" c"\n4\n,\n1,Two?\n', encoding="utf-8")
    said = rft("new", "desk", "--like", "support_reply", "--prompts", str(file))
    assert_one_message(
        said,
        "t.csv: line 4: not CSV: ',' expected after '\"'",
        "t.csv: line 5: 1 cell; the header has 2",
        "t.csv: line 3: prompt: is missing",
        "t.csv: id given more than once: 1 (lines 2, 7); each row needs its own id",
    )
    assert not (tmp_path / "data" / "desk").exists()
    table(file)
    file.write_text(file.read_text(encoding="utf-8") + ",\n , \n", encoding="utf-8")
    assert read_rows(PromptSource(source="t.csv", columns={"prompt": "question"}), tmp_path).found.endswith(
        "30 rows, 2 empty rows left out"
    )


def test_a_promotion_gets_its_eval_prompts_where_a_third_is_left_to_train_on() -> None:
    assert [eval_share(prompts, 20) for prompts in (6, 29, 30, 60, 71, 90, 300, 900)] == [2, 9, 20, 20, 23, 30, 60, 100]


def test_the_number_of_eval_prompts_can_be_chosen(rft: Rft, tmp_path: Path) -> None:
    file = str(table(tmp_path / "t.csv"))
    said = rft("new", "desk", "--like", "support_reply", "--prompts", file, "--eval-rows", "6")
    assert "t.csv: 24 rows to train on and 6 to evaluate with" in said.err
    assert "a round is promoted from 20 on (promotion.min_prompts)" in said.err
    folder = tmp_path / "data" / "desk"
    assert read_source(load_campaign(folder).prompts.eval, folder).height == 6
    said = rft("new", "two", "--like", "support_reply", "--prompts", file, "--eval-rows", "30")
    assert_one_message(said, "--eval-rows 30 leaves none of the 30 different prompts to train on")
    said = rft("new", "two", "--like", "support_reply", "--eval-rows", "9")
    assert_one_message(said, "--eval-rows: draws from --prompts")


def test_texts_and_budgets_of_the_copied_task_are_marked(rft: Rft, tmp_path: Path) -> None:
    said = rft("new", "mine", "--like", "ticket_subject")
    folder, mark = tmp_path / "data" / "mine", "# Written for ticket_subject: change it."
    campaign, rubric = ((folder / f"{name}.yaml").read_text(encoding="utf-8") for name in ("campaign", "rubric"))
    for text, setting in ((campaign, "system: >-"), (campaign, "system: You write"), (rubric, "system: You write")):
        lines = [line.strip() for line in text.splitlines()]
        assert lines[next(place for place, line in enumerate(lines) if line.startswith(setting)) - 1] == mark
    assert campaign.count("# max_new_tokens: chosen for ticket_subject; set it to your longest reply") == 1
    assert "anchors.jsonl: 4 of the 120 anchors of ticket_subject, as examples" in said.err
    fitted = [number for number, line in enumerate(rubric.splitlines(), 1) if "# The squash of" in line]
    lines = ", ".join(map(str, fitted))
    assert (
        f"rubric.yaml: lines {lines}: the squash of informative, fluent was fitted on the labels of ticket_subject; "
        "`rft audit mine --suggest` prints what fits yours"
    ) in said.err.replace("\n", " ")
    assert "train.jsonl: 8 rows of ticket_subject, as their column `comment` says" in said.err
    (folder / "rubric.yaml").write_text(
        "".join(line for line in rubric.splitlines(keepends=True) if "# The squash of" not in line), encoding="utf-8"
    )
    assert "the squash of" not in rft("check", "mine").err
    numbers = [number for number, line in enumerate(rubric.splitlines(), 1) if mark in line]
    warned = f"line {numbers[0]}: the text below was written for ticket_subject; change it, then remove the comment"
    assert (len(numbers), warned in said.err.replace("\n", " ")) == (1, True)
    assert said.err.splitlines()[-1].endswith("`rft run mine`")  # one round: no need to say --rounds 1


def test_the_squash_of_a_judge_of_the_alarms_is_marked_and_named(rft: Rft, tmp_path: Path) -> None:
    said = rft("new", "mine", "--like", "support_reply")
    path = tmp_path / "data" / "mine" / "campaign.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    (place,) = [number for number, line in enumerate(lines) if "# The squash of about_the_message" in line]
    assert "name: about_the_message" in lines[place + 1]
    warned = f"line {place + 1}: about_the_message watches for the alarms with a squash that was fitted on the labels"
    assert warned in said.err.replace("\n", " ")
    assert "watches only" in said.out
    path.write_text("\n".join(lines[:place] + lines[place + 1 :]) + "\n", encoding="utf-8")
    assert warned[10:] not in rft("check", "mine").err.replace("\n", " ")


def test_the_split_and_all_else_is_the_same_when_done_again_and_nothing_is_overwritten(
    rft: Rft, tmp_path: Path
) -> None:
    file = chats(tmp_path / "chats.json")
    for name in ("one", "two"):
        assert rft("new", name, "--like", "ticket_subject", "--prompts", str(file)).code == 0
    one, two = (tmp_path / "data" / name / "prompts" / "eval.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert_one_message(rft("new", "one", "--like", "ticket_subject"), "exists already")
    assert_one_message(rft("new", "three", "--like", "nothing"), "no campaign 'nothing' to copy; searched")
    assert_one_message(rft("new", "three", "--like", "suport_reply"), "(did you mean 'support_reply'?) to copy")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".schema", "one", "two"]


@pytest.mark.parametrize("like", sorted(path.parent.name for path in (ROOT / "data").glob("*/campaign.yaml")))
def test_every_shipped_campaign_can_be_copied_with_example_rows(like: str, rft: Rft, tmp_path: Path) -> None:
    said = rft("new", "mine", "--like", like)
    assert said.code == 0, said.err
    rows = [json.loads(line) for line in (tmp_path / "data/mine/prompts/train.jsonl").read_text().splitlines()]
    assert "put your rows into prompts/" in said.err
    assert {row["comment"] for row in rows} == {f"an example from {like}: replace it with a row of your own"}


@pytest.mark.parametrize("which", ["campaign", "rubric"])
def test_the_shipped_files_fit_their_schema(which: str) -> None:
    validator = jsonschema.Draft202012Validator(schema(which))  # type: ignore[arg-type]
    for path in (ROOT / "data").glob(f"*/{which}.yaml"):
        validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_edits_of_yaml_keep_its_comments() -> None:
    text = "# head\na: 1  # one\nb:\n  c: {d: 2}\n  e: >-\n    long\n    text\n# foot\nf: [1]\n"
    assert yaml_text.set_value(text, ("b", "c", "d"), "3") == text.replace("d: 2", "d: 3")
    assert yaml.safe_load(yaml_text.set_value(text, ("b", "g", "h"), "4"))["b"]["g"] == {"h": 4}
    assert yaml_text.comment_out(text, ("b", "e"), "why").splitlines()[4:9] == [
        "  # why",
        "  # e: >-",
        "  #   long",
        "  #   text",
        "# foot",
    ]
    assert yaml_text.comment_out(text, ("b", "c", "d"), "why") == text
    assert yaml_text.comment_after(text, ("a",), "uno").splitlines()[1] == "a: 1  # uno"
