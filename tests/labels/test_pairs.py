"""Blind pairs go out to people, and their answers come back."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError, DataError, StoreError
from rft_pipeline.labels.pair_files import write_pairs
from rft_pipeline.labels.pairs import LEFT, PairExport, pair_exports_of, pair_rows, with_sides
from rft_pipeline.labels.preferences import current_preferences, preference, preferences_source, votes_of
from rft_pipeline.labels.reading import read_filled
from rft_pipeline.store import Home, RecordStore, preferences_table
from tests.labels.pairs import answered, exported, taken, written
from tests.labels.sheets import save, table
from tests.runs import edit

NASTY = ('=HYPERLINK("http://x")', "-2+3", 'two\nlines, "quoted"; and 😀', "\tTab", "'=x", "a\x07b")


@pytest.fixture
def export(finished_copy: Path) -> PairExport:
    return exported()


def replies() -> pl.DataFrame:
    record = RecordStore(Home.find().store).current("tiny/round_2/eval_reports")
    assert record is not None
    return pl.read_parquet(record.path("eval_reports.parquet"))


def counts() -> list[tuple[str, str, int, int, int]]:
    home = Home.find()
    found = current_preferences(load_campaign(home.campaign_folder("tiny")), home).found
    return [(each.policy, each.over, each.wins, each.ties, each.losses) for each in found]


def test_without_names_base_is_compared_with_the_champion(export: PairExport) -> None:
    assert (export.of, export.against, export.prompts, export.drawn, export.identical) == ("base", "round 1", 6, 6, 0)
    policies = dict(replies().select("rollout_id", "policy").iter_rows())
    for row in pair_rows(export, Home.find().store).iter_rows(named=True):
        shown = {row["left"]: row["left_reply"], row["right"]: row["right_reply"]}
        assert {policies[each] for each in shown} == {export.of_policy, export.against_policy}
        assert policies[row[row["tuned"]]] == export.against_policy
        assert shown == dict(
            replies().filter(pl.col("rollout_id").is_in(list(shown)))["rollout_id", "completion"].rows()
        )


def test_without_a_champion_the_newest_round_is_compared(finished_copy: Path) -> None:
    (Home.find().root / "champions" / "tiny.json").unlink()
    assert (exported().of, exported().against) == ("base", "round 2")


def test_sides_can_be_named(finished_copy: Path) -> None:
    assert (exported(of="champion", against="round_2").of, exported(against="Round-2").against) == (
        "round 1",
        "round 2",
    )
    with pytest.raises(ConfigError, match=r"--against round-9: .* there are: base, round-1, round-2, champion"):
        exported(against="round-9")
    with pytest.raises(ConfigError, match="round 1 and round 1 have the same weights"):
        exported(of="round-1", against="champion")


def test_the_file_is_blind(export: PairExport, tmp_path: Path) -> None:
    path = written(export, tmp_path)
    heading, *rows = table(path)
    assert heading == [
        "pair_id",
        "prompt",
        "left",
        "right",
        "preferred (left, right or tie)",
        "annotator",
        "note",
        "export",
    ]
    shown = replies()
    texts = {*shown["completion"], ""}
    for pair, prompt, left, right, *rest in rows:
        assert re.fullmatch("'?[0-9a-f]{16}", pair)
        assert prompt.startswith("Please help with the ")
        assert {left, right} <= texts
        assert [cell.removeprefix("'") for cell in rest] == ["", "", "", export.id]
    file = f"{path.name}\n{path.read_text(encoding='utf-8-sig')}"
    names = ["base", "round", "champion", "policy", "tuned", export.of_policy, export.against_policy]
    assert not [name for name in [*names, *shown["rollout_id"], *shown["policy"]] if name in file]


@given(pairs=st.integers(1, 60), seed=st.integers(0, 2**63 - 1))
def test_sides_are_balanced_and_the_same_again(pairs: int, seed: int) -> None:
    ids = [str(number) for number in range(pairs)]
    drawn = pl.DataFrame({"pair_id": ids, "prompt_id": ids, "messages": ids, "fields": ids}).with_columns(
        pl.lit("stop").alias("finish_reason"),
        pl.lit("length").alias("finish_reason_tuned"),
        pl.lit("b").alias("rollout_id"),
        pl.lit("t").alias("rollout_id_tuned"),
        pl.lit("of base").alias("completion"),
        pl.lit("of tuned").alias("completion_tuned"),
    )
    rows = with_sides(drawn, seed)
    lefts = rows.filter(tuned=LEFT)
    assert lefts.height == (pairs + 1) // 2
    assert set(lefts["left_reply"]) <= {"of tuned"}
    assert set(lefts["right"]) <= {"b"}
    assert set(lefts["left_finish_reason"]) <= {"length"}
    assert set(rows.filter(tuned="right")["right_reply"]) <= {"of tuned"}
    assert rows.equals(with_sides(drawn, seed))


def test_either_side_comes_first_as_often(finished_copy: Path) -> None:
    """Over campaigns of other seeds, the side of a certain pair is no constant."""
    sides = set()
    for seed in range(8):
        edit(finished_copy / "campaign.yaml", "seed", seed)
        rows = pair_rows(exported(), Home.find().store).sort("pair_id")
        sides.add(rows["tuned"][0])
    assert sides == {"left", "right"}


def test_the_same_pairs_come_again_until_they_are_answered(export: PairExport, tmp_path: Path) -> None:
    assert exported() == export
    assert pair_exports_of("tiny", Home.find().store) == [export]
    path = written(export, tmp_path)
    answered(path, export, {0: "tuned", 1: "tie"})
    taken(path)
    following = exported()
    assert following.drawn == 4
    stored = [set(pair_rows(each, Home.find().store)["pair_id"]) for each in (export, following)]
    assert stored[1] < stored[0]
    answered(path, export, "start")
    taken(path)
    with pytest.raises(StoreError, match="people answered all 6 pairs of base and round 1"):
        exported()


def test_identical_replies_are_left_out_and_counted(finished_copy: Path) -> None:
    record = RecordStore(Home.find().store).current("tiny/round_2/eval_reports")
    assert record is not None
    path = record.path("eval_reports.parquet")
    rows, prompt = replies(), replies()["prompt_id"][0]
    same = pl.when(pl.col("prompt_id") == prompt).then(pl.lit(" Same. ")).otherwise("completion").alias("completion")
    rows.with_columns(same).write_parquet(path)
    assert (exported().identical, exported().drawn) == (1, 5)
    rows.with_columns(completion=pl.lit("Same.")).write_parquet(path)
    with pytest.raises(StoreError, match="gave the same reply to every one of the 6 held-out prompts"):
        exported()


def test_nasty_replies_are_no_formulas(finished_copy: Path, tmp_path: Path) -> None:
    record = RecordStore(Home.find().store).current("tiny/round_2/eval_reports")
    assert record is not None
    rows = replies()
    nasty = [NASTY[place % len(NASTY)] + "!" * place for place in range(rows.height)]
    rows.with_columns(completion=pl.Series(nasty)).write_parquet(record.path("eval_reports.parquet"))
    path = written(exported(), tmp_path)
    cells = [cell for row in table(path) for cell in row]
    assert not [cell for cell in cells if cell and cell[0] in "=+-@\t\r"]
    assert not [cell for cell in cells if "\x07" in cell]


def test_answers_are_counted_by_policy(export: PairExport, tmp_path: Path) -> None:
    path = written(export, tmp_path)
    answered(path, export, {0: "tuned", 1: "tuned", 2: "tuned", 3: " Tie ", 4: "start"})
    assert read_filled(path).has_pairs
    done = taken(path)
    assert (done.new, done.empty_rows, done.annotators) == (5, 1, ("Anna",))
    assert counts() == [("round 1", "base", 3, 1, 1)]


def test_a_pair_that_several_people_answered_is_one_vote(export: PairExport, tmp_path: Path) -> None:
    path = written(export, tmp_path)
    for annotator, answers in {
        "Anna": {0: "tuned", 1: "tuned", 2: "tuned"},
        "Ben": {0: "tuned", 1: "start", 2: "tie"},
        "Cleo": {0: "start"},
    }.items():
        answered(path, export, answers, annotator)
        taken(path)
    assert counts() == [("round 1", "base", 1, 2, 0)]


def test_the_newest_answer_of_an_annotator_counts(export: PairExport, tmp_path: Path) -> None:
    path = written(export, tmp_path)
    answered(path, export, "tuned")
    first = taken(path)
    before = preferences_source("tiny", Home.find().store)
    again = taken(path)
    assert (first.new, again.new, again.changed, again.unchanged) == (6, 0, 0, 6)
    assert preferences_source("tiny", Home.find().store) == before
    answered(path, export, "start")
    assert taken(path).changed == 6
    assert counts() == [("round 1", "base", 0, 0, 6)]
    assert preferences_source("tiny", Home.find().store) != before


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.sampled_from(["tuned", "start", "tie", ""]), min_size=6, max_size=6))
def test_importing_twice_changes_nothing(export: PairExport, tmp_path: Path, answers: list[str]) -> None:
    store = Home.find().store
    path = written(export, tmp_path)
    answered(path, export, dict(enumerate(answers)))
    first = taken(path)
    before = votes_of("tiny", store)
    again = taken(path)
    assert (again.new, again.changed) == (0, 0)
    assert again.unchanged == first.new + first.changed + first.unchanged == 6 - answers.count("")
    assert votes_of("tiny", store).equals(before)


ANSWERS = st.sampled_from(["left", "right", "tie"])
VOTES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ABC"), st.booleans(), ANSWERS))


@given(drawn=VOTES)
def test_each_prompt_has_one_vote_and_the_sides_swap_wins_and_losses(drawn: list[tuple[int, str, bool, str]]) -> None:
    newest = {(prompt, annotator): (is_left, answer) for prompt, annotator, is_left, answer in drawn}
    votes = pl.DataFrame(
        [
            {
                "prompt_id": f"p{prompt}",
                "left": f"{'tuned' if is_left else 'start'} {prompt}",
                "right": f"{'start' if is_left else 'tuned'} {prompt}",
                "preferred": answer,
                "annotator": annotator,
            }
            for (prompt, annotator), (is_left, answer) in newest.items()
        ],
        schema=dict.fromkeys(("prompt_id", "left", "right", "preferred", "annotator"), pl.String),
    )
    tuned, start = (
        pl.DataFrame({"rollout_id": [f"{side} {prompt}" for prompt in range(6)]}) for side in ("tuned", "start")
    )
    ours, theirs = preference("tuned", tuned, "start", start, votes), preference("start", start, "tuned", tuned, votes)
    if not newest:
        assert ours is theirs is None
        return
    assert ours is not None
    assert theirs is not None
    assert ours.decided + ours.ties == len({prompt for prompt, _ in newest})
    assert (ours.wins, ours.ties, ours.losses) == (theirs.losses, theirs.ties, theirs.wins)
    assert ours.p == pytest.approx(theirs.p)


def test_the_same_file_again_repairs_doubled_answers(export: PairExport, tmp_path: Path) -> None:
    stored = preferences_table(Home.find().store)
    path = written(export, tmp_path)
    answered(path, export, "tuned")
    taken(path)
    stored.append(stored.rows().collect().head(2))
    assert (taken(path).changed, stored.doubled().height) == (2, 0)


def test_wrong_rows_are_named_and_nothing_is_written(export: PairExport, tmp_path: Path) -> None:
    path = written(export, tmp_path)
    rows = answered(path, export, "tuned")
    rows[1][4] = "both"
    rows[2][5] = " "
    rows[3][0] = "ffff"
    rows[4][7] = "eeee"
    rows.append(rows[5])
    save(path, rows)
    with pytest.raises(DataError) as error:
        taken(path)
    *said, last = str(error.value).splitlines()
    pair, other = (rows[number][0].removeprefix("'") for number in (4, 5))
    assert said == [
        f'{path}: row 2: preferred: "both" is not an answer: write left, right or tie',
        f"{path}: row 3: no annotator: write who answered",
        f'{path}: row 4: no export "{export.id}" of tiny has pair_id "ffff"',
        f'{path}: row 5: no export "eeee" of tiny has pair_id "{pair}"',
        f"{path}: row 8: Anna already answered pair {other} in row 6",
    ]
    assert last == "Nothing was imported: correct the file, or leave these rows out with --skip-wrong"
    assert counts() == []
    assert taken(path, skip_wrong=True).new == 2


def test_json_lines_come_back_too(export: PairExport, tmp_path: Path) -> None:
    path = write_pairs(export, Home.find().store, tmp_path, "jsonl")
    assert read_filled(path).has_pairs
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    text = "".join(json.dumps({**row, "preferred": "tie", "annotator": "Ben"}) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    assert taken(path).new == 6
    assert counts() == [("round 1", "base", 0, 6, 0)]


def test_before_a_report_or_an_export_there_is_one_message(tiny_campaign: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="tiny has no eval report yet; run it first: rft run tiny"):
        exported()
    (tmp_path / "pairs.csv").write_text("pair_id,preferred,annotator,export\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="rft labels export tiny --pairs 40"):
        taken(tmp_path / "pairs.csv")
