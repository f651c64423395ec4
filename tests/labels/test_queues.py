"""Replies go to pages of MLflow, and the answers come back as labels."""

from pathlib import Path

import pytest

from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.labels.exports import LabelQuestion, drawn_rows
from rft_pipeline.labels.importing import split_of
from rft_pipeline.labels.page import as_shown, label_page
from rft_pipeline.labels.queues import queues_of
from rft_pipeline.store import Home
from tests.labels.pages import answer, client, drawn, opened, question_id, taken, tracing
from tests.labels.sheets import stored
from tests.runs import edit

CRITERIA = ["polite", "relevant", "says_enough", "has_an_e"]


def test_each_annotator_gets_a_page_that_tells_nothing_but_prompt_and_reply(finished_copy: Path) -> None:
    export = drawn()
    ines, jonas = opened(export, "Ines", "Jonas")
    assert ines.experiment_id != jonas.experiment_id
    schemas = tracing()._list_label_schemas(ines.experiment_id)
    shown = [each.name for each in schemas if each.schema_id in ines.questions]
    assert shown == [*CRITERIA, "note"]
    rows = drawn_rows(export, Home.find().store)
    assert list(ines.items.values()) == rows["rollout_id"].to_list()
    queue = tracing()._get_review_queue(ines.queue_id)
    assert (queue.users, set(queue.schema_ids)) == (["default", "ines"], set(ines.questions))
    traces = client().search_traces(locations=[ines.experiment_id], include_spans=False)
    newest_first = sorted(traces, key=lambda trace: -trace.info.request_time)
    assert [trace.info.trace_id for trace in newest_first] == list(ines.items)
    for trace, completion in zip(newest_first, rows["completion"], strict=True):
        assert trace.info.response_preview == as_shown(completion)
        assert "Please help with the" in trace.info.request_preview.replace("\\", "")
        assert set(trace.info.tags) <= {"mlflow.artifactLocation", "mlflow.trace.spansLocation"}
        (span,) = client().get_trace(trace.info.trace_id).data.spans  # the page shows no trace without a span
        assert (span.name, span.inputs, span.outputs) == ("reply", None, None)
        assert not {key for key in trace.info.trace_metadata if "user" in key or "model" in key or "run" in key.lower()}
        assert not trace.info.assessments
    experiment = client().get_experiment(ines.experiment_id)
    told = " ".join([experiment.name, *experiment.tags, *experiment.tags.values()])
    assert not [each for each in ("round", "base", "score", "reward") if each in told.replace("unanswered", "")]


def test_the_same_export_has_the_same_page_also_after_a_deletion(finished_copy: Path) -> None:
    export = drawn()
    (first,) = opened(export, "Ines")
    client().delete_experiment(first.experiment_id)
    assert opened(export, "Ines", "Ines") == [first]
    assert client().get_experiment(first.experiment_id).lifecycle_stage == "active"
    assert queues_of("tiny", Home.find().store) == [first]


def test_answers_become_labels_once(finished_copy: Path) -> None:
    export = drawn()
    ines, jonas = opened(export, "Ines", "Jonas")
    for place in range(4):
        answer(ines, place, polite=place != 0, relevant="no")
    answer(jonas, 1, polite=False, note="curt")
    tracing()._set_review_queue_item_status(
        ines.queue_id, item_id=list(ines.items)[2], status="declined", completed_by="default"
    )
    done = taken()
    assert (done.new, done.empty_rows, done.rejected, done.annotators) == (9, 3, (), ("Ines", "Jonas"))
    found = stored()
    rows = {row["rollout_id"]: row for row in drawn_rows(export, Home.find().store).iter_rows(named=True)}
    for label in found.iter_rows(named=True):
        row = rows[label["rollout_id"]]
        assert (label["inclusion"], label["split"]) == (row["inclusion"], split_of(row["prompt_id"]))
        assert label["batch"] == export.id
    assert found.filter(annotator="Ines", criterion="polite")["value"].sum() == 3
    assert found.filter(annotator="Jonas").select("value", "note").rows() == [(0.0, "curt")]
    again = taken()
    assert (again.new, again.changed, again.unchanged) == (0, 0, 9)


def test_the_newest_answer_counts_and_an_empty_one_is_no_label(finished_copy: Path) -> None:
    (ines,) = opened(drawn(), "Ines")
    answer(ines, 0, when=2000, polite=True)
    answer(ines, 0, when=1000, polite=False)
    answer(ines, 1, polite=" ")
    answer(ines, 2, by="LLM_JUDGE", polite=True)
    assert (taken().new, stored()["value"].to_list()) == (1, [1.0])
    answer(ines, 0, when=3000, polite=False)
    done = taken()
    assert (done.new, done.changed, done.empty_rows, stored()["value"].to_list()) == (0, 1, 3, [0.0])


def test_what_is_no_label_is_named_and_nothing_is_written(finished_copy: Path) -> None:
    (ines,) = opened(drawn(), "Ines")
    answer(ines, 0, polite=7)
    answer(ines, 1, polite=["yes"])
    answer(ines, 2, polite="perhaps")
    answer(ines, 2, relevant=0.5)
    traces = list(ines.items)
    with pytest.raises(DataError) as error:
        taken()
    *said, last = str(error.value).splitlines()
    assert said == [
        f"MLflow: Ines, trace {trace}: polite: {value} is not a label: write yes, no or a number from 0 to 1"
        for trace, value in zip(traces, ("7", '["yes"]', '"perhaps"'), strict=False)
    ]
    assert last == "Nothing was imported: correct the answers on the page, or leave these rows out with --skip-wrong"
    assert stored().is_empty()
    done = taken(skip_wrong=True)
    assert (done.new, done.rejected, stored()["value"].to_list()) == (1, tuple(said), [0.5])


def test_answers_to_a_question_that_was_changed_on_the_page_are_left_out(finished_copy: Path) -> None:
    ines, jonas = opened(drawn(), "Ines", "Jonas")
    for queue in (ines, jonas):
        answer(queue, 0, polite=True, relevant=True, mine=True)
    tracing()._update_label_schema(question_id(ines, "polite"), instruction="Is it rude?")
    tracing()._delete_label_schema(question_id(jonas, "relevant"))
    done = taken()
    assert done.new == 2
    assert stored().select("annotator", "criterion").sort("annotator").rows() == [
        ("Ines", "relevant"),
        ("Jonas", "polite"),
    ]
    left_out = "\n".join(done.rejected)
    assert "1 answer of Ines to polite" in left_out
    assert "the page now asks “polite Is it rude?” (Yes, No)" in left_out
    assert "1 answer of Jonas to relevant" in left_out
    assert "the page now asks nothing" in left_out
    assert left_out.count("to mine (export") == 2
    client().delete_experiment(ines.experiment_id)
    assert f"does not have experiment {ines.experiment_id}" in taken().rejected[0]


def test_grades_are_options(finished_copy: Path) -> None:
    grades = ["rude " + "x" * 80, "plain", "warm"]
    judge = {"protocol": "graded", "question": "How warm is it?", "grades": grades}
    edit(finished_copy / "rubric.yaml", "criteria.0.judge", judge)
    (ines,) = opened(drawn(), "Ines")
    asked = ines.questions[question_id(ines, "polite")]
    assert list(asked.options) == ["1 = rude " + "x" * 54 + "…", "2 = plain", "3 = warm"]
    assert asked.text == f"How warm is it? 1 = {grades[0]}; 2 = plain; 3 = warm"
    answer(ines, 0, polite="2 = plain")
    answer(ines, 1, polite="3")
    answer(ines, 2, polite=4)
    with pytest.raises(DataError, match="polite: 4 is not a grade: write an integer from 1 to 3"):
        taken()
    assert taken(skip_wrong=True).new == 2
    assert sorted(stored()["value"]) == [0.5, 1.0]


def test_what_mlflow_cannot_hold_is_one_message(finished_copy: Path) -> None:
    asked = {
        "polite": LabelQuestion("How polite?", tuple(f"grade {number}" for number in range(11))),
        "relevant": LabelQuestion("x" * 1001),
        "feedback": LabelQuestion("Is it feedback?"),
    }
    with pytest.raises(ConfigError) as error:
        label_page(asked)
    assert [line.split(";")[0] for line in str(error.value).splitlines()] == [
        "polite: has 11 grades",
        "relevant: its question has 1001 characters",
        "feedback: MLflow reserves this name for a question of its own",
        "The CSV has no such limits: leave out --to mlflow",
    ]
    drawn()
    with pytest.raises(ConfigError, match="tiny has no export to MLflow: rft labels export tiny --to mlflow"):
        taken()


def test_a_reply_is_shown_as_text_and_not_as_markup() -> None:
    assert as_shown("![x](http://y) <b>") == r"!\[x\](http://y) \<b\>"
    assert as_shown("1. a\n- b-c\n2024") == "1\\. a  \n\\- b-c  \n2024"
    assert as_shown("# a\n  b\n\nc") == "\\# a  \n\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}b  \n\N{ZERO WIDTH SPACE}  \nc"
    assert as_shown("1e5") == "\N{ZERO WIDTH SPACE}1e5"
    assert as_shown('{"a": 1}') == '\N{ZERO WIDTH SPACE}{"a": 1}'
