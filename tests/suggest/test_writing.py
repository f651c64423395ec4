"""The rubric with a suggestion: only one criterion changes, and comments stay."""

from pathlib import Path

import pytest

from rft_pipeline.errors import ConfigError
from rft_pipeline.suggest.writing import present_judge, write_suggested

RUBRIC = """# what a good reply is
criteria:
  - name: kind          # the first
    judge:
      protocol: graded
      # asked of every reply
      question: >-
        How kind is
        the reply?
      grades: [not at all, somewhat, very]   # the worst first
  # how long
  - {name: short, judge: {protocol: rule, rule: {name: length, max_words: 9}}}
"""


def written(folder: Path, text: str, criterion: str, change: dict[str, object]) -> str:
    path = folder / "rubric.yaml"
    path.write_text(text, encoding="utf-8")
    judge = {**present_judge(path, criterion), **change}
    return write_suggested(path, criterion, judge, "why").read_text(encoding="utf-8")


def test_one_text_changes_and_every_comment_stays(tmp_path: Path) -> None:
    found = written(tmp_path, RUBRIC, "kind", {"question": 'Is it "kind": yes?'})
    asked = '  # Suggested by `rft rubric suggest`: why\n  - description: "How kind is the reply?"\n    name: kind'
    expected = RUBRIC.replace("  - name: kind", asked)
    assert found == expected.replace(">-\n        How kind is\n        the reply?", '"Is it \\"kind\\": yes?"')


def test_numbers_below_a_setting_change_where_they_are(tmp_path: Path) -> None:
    squashed = """criteria:
  - name: kind
    judge:
      protocol: contrast
      positive: Be kind.
      negative: Be rude.
      squash:
        scale: 0.5   # wide
"""
    found = written(tmp_path, squashed, "kind", {"squash": {"scale": 0.25, "offset": -0.02}})
    changed = squashed.replace("scale: 0.5", "offset: -0.02\n        scale: 0.25")
    assert found == changed.replace("  - name: kind", "  # Suggested by `rft rubric suggest`: why\n  - name: kind")


def test_a_later_suggestion_replaces_the_comment_of_an_earlier_one(tmp_path: Path) -> None:
    first = written(tmp_path, RUBRIC, "kind", {"question": "Is it warm?"})
    second = written(tmp_path, first, "kind", {"question": "Is it kind?"})
    assert second == first.replace("Is it warm?", "Is it kind?")


def test_another_protocol_replaces_the_judge(tmp_path: Path) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text(RUBRIC, encoding="utf-8")
    judge = {"protocol": "contrast", "positive": "Be kind.", "negative": "Be rude."}
    found = write_suggested(path, "kind", judge, "why")
    assert present_judge(found, "kind") == judge
    assert "# how long" in found.read_text(encoding="utf-8")


def test_a_judge_that_is_shared_by_an_alias_is_not_edited(tmp_path: Path) -> None:
    shared = """criteria:
  - name: kind
    judge: &asked {protocol: binary, question: 'Is it kind?'}
  - name: warm
    judge: *asked
"""
    with pytest.raises(ConfigError, match="cannot be written without changing more of the file"):
        written(tmp_path, shared, "warm", {"question": "Is it warm?"})
    assert [path.name for path in tmp_path.iterdir()] == ["rubric.yaml"]
