"""Users' feedback in logs: what counts as a thumb or a rating, and where it may be."""

import json
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import Feedback
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.prompts.feedback import at, read_feedback, value_of, week_of


def settings(**others: Any) -> Feedback:
    return Feedback.model_validate(
        {"logs": "logs.jsonl", "columns": {"feedback": "thumbs", "reply": "answer"}, **others}
    )


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    lines = "".join(
        json.dumps({"prompt": f"Hi {i}", "answer": f"Hello {i}", **row}) + "\n" for i, row in enumerate(rows)
    )
    (folder / "logs.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_thumbs_are_words_truth_values_or_numbers() -> None:
    assert [value_of(each) for each in ("up", "Thumbs-Up", "👍", True, 1, "1", "+1", 0.75)] == [1.0] * 7 + [0.75]
    assert [value_of(each) for each in ("down", "thumbs_down", "👎", False, 0, "0", -1)] == [0.0] * 7
    assert [value_of(each) for each in (None, "")] == [None, None]


def test_ratings_need_their_scale() -> None:
    assert [value_of(each, (1, 5)) for each in (1, 3, "5")] == [0.0, 0.5, 1.0]
    with pytest.raises(ValueError, match=r"is 4\. For ratings, set feedback\.scale"):
        value_of(4)
    with pytest.raises(ValueError, match=r"must be a number from 1 to 5 \(feedback\.scale\), is 6"):
        value_of(6, (1, 5))


def test_times_become_weeks_in_utc() -> None:
    # 00:30 on Monday in Berlin is Sunday in UTC
    times = ("2026-11-23T00:30:00+01:00", "2026-11-23", 1795391999, 1795391999000, None)
    assert [week_of(each) for each in times] == ["2026-W47", "2026-W48", "2026-W47", "2026-W47", None]
    with pytest.raises(ValueError, match=r"must be a time such as .*, is a text of 9 characters"):
        week_of("yesterday")


def test_scores_of_langfuse_and_langsmith_are_found_at_their_place() -> None:
    langfuse = {
        "scores": [{"name": "thumbs", "value": 1}, {"name": "other", "value": 0}, {"name": "thumbs", "value": 0}]
    }
    assert at(langfuse, "scores.thumbs") == 0  # the last one
    assert at({"thumbs": [1]}, "thumbs") == 1
    assert at({"scores": json.dumps(langfuse["scores"])}, "scores.other") == 0  # as a cell of a CSV
    langsmith = {"feedback_stats": {"thumbs": {"n": 2, "avg": 0.5}}}
    assert (at(langsmith, "feedback_stats.thumbs"), at(langsmith, "feedback_stats.stars")) == (0.5, None)
    assert at({"a.b": 1, "a": {"b": 0}}, "a.b") == 1


def test_a_row_without_feedback_or_with_an_opt_out_is_left_out_and_no_judge_sees_thumbs(tmp_path: Path) -> None:
    rows = (
        {"thumbs": "up", "shop": "north"},
        {"thumbs": None},
        {"thumbs": "up", "private": True},
        {"thumbs": "down", "answer": " "},
    )
    found = read_feedback(settings(opt_out="private"), written(tmp_path, *rows))
    (only,) = found.found
    assert (only.completion, only.value, only.fields) == ("Hello 0", 1.0, {"shop": "north"})
    assert (found.rows, found.opted_out, found.without_reply) == (4, 1, 1)


def test_all_bad_values_are_named_by_file_row_and_key_and_no_text_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_feedback(settings(), written(tmp_path, {"thumbs": "up"}, {"thumbs": "so so"}, {"thumbs": 4}))
    first, second = str(error.value).splitlines()
    path = tmp_path / "logs.jsonl"
    assert first.startswith(
        f"{path}: line 2: thumbs: must be up or down, true or false, or a number from 0 to 1, is a text"
    )
    assert second.startswith(f"{path}: line 3: thumbs: ")
    assert "so so" not in str(error.value)
    found = read_feedback(settings(), path.parent, skip_wrong=True)
    assert ([each.value for each in found.found], found.wrong) == ([1.0], [first, second])


def test_minus_one_and_zero_together_need_a_scale(tmp_path: Path) -> None:
    folder = written(tmp_path, {"thumbs": 0}, {"thumbs": -1})
    with pytest.raises(
        DataError, match=r"line 1: thumbs: is 0, and .*line 2 is -1; set feedback\.scale, e\.g\. \[-1, 1\]"
    ):
        read_feedback(settings(), folder)
    assert [each.value for each in read_feedback(settings(scale=(-1, 1)), folder).found] == [0.5, 0.0]


def test_a_column_that_no_row_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no row has feedback in 'thumbs'; `feedback\.columns`"):
        read_feedback(settings(), written(tmp_path, {"stars": 5}))


def test_exports_of_langfuse_and_langsmith_are_read_with_their_scores(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Where is my lamp?"}]
    langfuse = {"id": "o1", "traceId": "t1", "type": "GENERATION", "input": asked, "output": "On its way."}
    langsmith = {"id": "r1", "run_type": "llm", "inputs": {"messages": asked}, "outputs": {"output": "On its way."}}
    exports = {
        "scores.thumbs": {**langfuse, "scores": [{"name": "thumbs", "value": 1, "dataType": "BOOLEAN"}]},
        "feedback_stats.thumbs": {**langsmith, "feedback_stats": {"thumbs": {"n": 1, "avg": 1.0}}},
    }
    for place, row in exports.items():
        (tmp_path / "logs.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        (found,) = read_feedback(settings(columns={"feedback": place}), tmp_path).found
        assert (found.messages, found.completion, found.value) == (asked, "On its way.", 1.0)
        assert not {"scores", "feedback_stats", "thumbs"} & set(found.fields)
