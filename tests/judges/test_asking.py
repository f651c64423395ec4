"""The protocols that ask about one reply in words: binary, graded, and a judge of the user's own."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rft_pipeline.errors import ConfigError
from rft_pipeline.judges import AnyJudge, Judge, Judgement, Status, make_judge
from rft_pipeline.rules import Rollout
from tests.judges.engines import OneEngine, Told, judgements

REPLY = Rollout("Where is my lamp?", "It comes today.", fields={"reference": "It ships today."})
BINARY: dict[str, Any] = {"protocol": "binary", "question": "Is it kind?"}
GRADED: dict[str, Any] = {"protocol": "graded", "question": "How kind is it?", "grades": ["rude", "plain", "warm"]}


def judge(config: dict[str, Any], asker: Told, folder: Path | None = None) -> Judge:
    settings = TypeAdapter(AnyJudge).validate_python(config, context={"folder": folder})
    return make_judge(settings, OneEngine(asker))


def judged(config: dict[str, Any], answer: Any, rollout: Rollout = REPLY) -> Judgement:
    (judgement,) = judgements(judge(config, Told(lambda _: answer)), [rollout])
    return judgement


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Yes", 1.0),
        (" no.", 0.0),
        ("**Yes**, it is", 1.0),
        ({"Yes": math.log(0.6), "No": math.log(0.2)}, 0.75),
        ("Yesterday", None),
        ("Maybe", None),
        ("", None),
        ("The reply says Yes", None),
    ],
)
def test_binary_reads_one_word_or_its_log_probs(answer: Any, score: float | None) -> None:
    found = judged(BINARY, answer)
    assert found.score == pytest.approx(score)
    assert found.status is (Status.UNSCORED if score is None else Status.SCORED)


@pytest.mark.parametrize(
    ("answer", "score", "reason"),
    [
        ('{"reason": "thanks", "verdict": "yes"}', 1.0, "thanks"),
        ('It says {"verdict": "yes"} itself. {"reason": "rude", "verdict": "NO"}', 0.0, "rude"),
        ('```json\n{"reason": "a } in it", "verdict": "no"}\n```', 0.0, "a } in it"),
        ('{"reason": "x", "verdict": "perhaps"}', None, "its verdict is neither yes nor no"),
        ('{"reason": "x", "verd', None, "its outermost JSON object cannot be parsed"),
        ('{"verdict": ["yes"]}', None, "its verdict is neither yes nor no"),
        ("Yes", None, "no JSON object in it"),
        ("{" * 10000, None, "its outermost JSON object cannot be parsed"),
    ],
)
def test_binary_takes_the_last_verdict_of_a_json_answer(answer: str, score: float | None, reason: str) -> None:
    found = judged({**BINARY, "answer": "json"}, answer)
    assert (found.score, found.reason, found.raw) == (score, reason, answer)


@pytest.mark.parametrize(
    ("answer", "score"),
    [("1", 0.0), ("2", 0.5), ("3", 1.0), ("4", None), ("0", None), ("2.", 0.5), ("two", None), ("23", None)],
)
def test_graded_puts_the_worst_grade_at_0_and_the_best_at_1(answer: str, score: float | None) -> None:
    assert judged(GRADED, answer).score == score


def test_graded_takes_the_expected_grade_where_log_probs_are_known() -> None:
    logprobs = {"1": math.log(0.1), "2": math.log(0.2), "3": math.log(0.1)}
    found = judged(GRADED, logprobs)
    assert found.score == pytest.approx((0.2 * 0.5 + 0.1 * 1.0) / 0.4)
    assert found.reason == "expected grade 2.00"


@pytest.mark.parametrize(("grade", "score"), [(3, 1.0), ("2", 0.5), (2.0, None), (9, None), (True, None), (None, None)])
def test_graded_reads_the_grade_of_a_json_answer(grade: Any, score: float | None) -> None:
    import json

    found = judged({**GRADED, "answer": "json"}, json.dumps({"reason": "so", "grade": grade}))
    assert found.score == score


@pytest.mark.parametrize("config", [BINARY, GRADED], ids=["binary", "graded"])
def test_what_the_judge_is_asked_shows_question_prompt_and_reply_once(config: dict[str, Any]) -> None:
    asker = Told(lambda _: "1")
    judgements(judge(config, asker), [REPLY])
    ((role, text),) = asker.asked[0].messages
    assert role == "user"
    for part in (config["question"], "```\nWhere is my lamp?\n```", "```\nIt comes today.\n```"):
        assert text.count(part) == 1
    assert "It ships today" not in text
    assert "{" not in text


def test_a_reference_is_shown_only_where_the_criterion_says_so_and_its_lack_leaves_the_reply_unscored() -> None:
    asker = Told(lambda _: "Yes")
    bare = Rollout("Where is it?", "Here.")
    found = judgements(judge({**BINARY, "reference": True}, asker), [REPLY, bare])
    assert [each.status for each in found] == [Status.SCORED, Status.UNSCORED]
    assert found[1].reason == "the prompt has no reference"
    (asked,) = asker.asked
    assert "A good reply would be:\n```\nIt ships today.\n```" in asked.messages[0][1]


def test_a_call_that_failed_costs_no_other_its_result() -> None:
    asker = Told(lambda text: None if "late" in text else "Yes")
    rollouts = [Rollout("Is it late?", "It is."), REPLY, Rollout("And now?", " ")]
    found = judgements(judge(BINARY, asker), rollouts)
    assert [(each.score, each.status) for each in found] == [
        (None, Status.FAILED),
        (1.0, Status.SCORED),
        (0.0, Status.SCORED),
    ]
    assert found[0].reason == "HTTP 500: out of order"
    assert len(asker.asked) == 2


def test_a_judgement_bears_its_tokens_and_its_cost() -> None:
    found = judged(BINARY, "Yes")
    assert (found.tokens, found.tokens_out, found.cost) == (10, 4, 0.5)


def test_a_template_of_the_users_own_is_part_of_the_criterion(tmp_path: Path) -> None:
    from rft_pipeline.campaign.rubric import Criterion

    path = tmp_path / "mine.txt"
    path.write_text("Be strict.\n---\nQ: {prompt}\nA: {reply}\n{question} {answer} {{known}}", encoding="utf-8")
    asker = Told(lambda _: "Yes")
    judgements(judge({**BINARY, "template": "mine.txt"}, asker, tmp_path), [REPLY])
    (system, user) = asker.asked[0].messages
    assert system == ("system", "Be strict.")
    assert user[1].endswith("Is it kind? Answer Yes or No. {known}")

    def fingerprint() -> str:
        config = {"name": "kind", "judge": {**BINARY, "template": "mine.txt"}}
        return Criterion.model_validate(config, context={"folder": tmp_path}).fingerprint

    before = fingerprint()
    path.write_text(path.read_text(encoding="utf-8").replace("strict", "kind"), encoding="utf-8")
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), ("Only {reply} {question} {answer}", r"must hold \{prompt\}")]
)
def test_a_template_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "mine.txt").write_text(content, encoding="utf-8")
    with pytest.raises(ValidationError, match=message):
        judge({**BINARY, "template": "mine.txt"}, Told(lambda _: None), tmp_path)


OWN = """
from rft_pipeline.judges import fenced

class Brief:
    def __init__(self, most=10):
        if not isinstance(most, int):
            raise ValueError("no number")
        self.most = most

    def messages(self, rollout):
        return [("user", f"How brief is this, 0 to {self.most}?\\n{fenced(rollout.completion)}")]

    def verdict(self, answer):
        return int(answer) / self.most, "because"

class Half:
    pass
"""


@pytest.mark.parametrize(("answer", "score"), [("5", 0.5), ("20", 1.0), ("21", None), ("none", None)])
def test_a_judge_of_the_users_own_has_two_hooks(tmp_path: Path, answer: str, score: float | None) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    config = {"protocol": "python", "judge": "own:Brief", "settings": {"most": 20 if score == 1.0 else 10}}
    asker = Told(lambda _: answer)
    (found,) = judgements(judge(config, asker, tmp_path), [REPLY])
    assert found.score == score
    assert asker.asked[0].messages[0][1].endswith("```\nIt comes today.\n```")


def test_an_answer_cut_by_its_budget_names_the_budget() -> None:
    class Cut(Told):
        def ask(self, requests: Any) -> Any:
            return (replace(reply, cut_at=8) for reply in super().ask(requests))

    (found,) = judgements(judge({**BINARY, "answer": "json"}, Cut(lambda _: '{"reason": "It is')), [REPLY])
    assert found.reason == (
        "its outermost JSON object cannot be parsed; its budget of 8 tokens (`max_tokens`) ran out before it ended"
    )
    (empty,) = judgements(judge({**BINARY, "answer": "json"}, Cut(lambda _: " ")), [REPLY])
    assert empty.reason.startswith("the budget of 8 tokens ran out before the judge had answered")


TOUCHY = """
class Touchy:
    def messages(self, rollout):
        return [] if rollout.completion == "Nothing." else [("user", {"kind": "Is it kind?"}[rollout.completion])]

    def verdict(self, answer):
        return float(answer)
"""


def test_a_hook_that_raises_leaves_that_reply_unscored_and_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(TOUCHY, encoding="utf-8")
    asking = judge({"protocol": "python", "judge": "own:Touchy"}, Told(lambda _: "0.5"), tmp_path)
    replies = [Rollout("Where is it?", completion) for completion in ("rude", "kind", "Nothing.")]
    found = judgements(asking, replies)
    assert [(each.status, each.score) for each in found] == [
        (Status.UNSCORED, None),
        (Status.SCORED, 0.5),
        (Status.UNSCORED, None),
    ]
    assert [each.reason for each in found] == ["messages: KeyError: 'rude'", "", "messages: nothing to ask"]


def test_another_code_of_the_users_own_is_another_criterion(tmp_path: Path) -> None:
    config = {"protocol": "python", "judge": "own:Brief"}
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    adapter: TypeAdapter[Any] = TypeAdapter(AnyJudge)
    before = adapter.validate_python(config, context={"folder": tmp_path})
    (tmp_path / "own.py").write_text(OWN.replace("because", "so"), encoding="utf-8")
    after = adapter.validate_python(config, context={"folder": tmp_path})
    assert after.judge.source != before.judge.source
    forged = {**config, "judge": {"path": "own:Brief", "source": before.judge.source}}
    assert adapter.validate_python(forged, context={"folder": tmp_path}) == after


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"judge": "own:Brief", "settings": {"least": 1}}, r"judge own:Brief: settings \['least'\]"),
        ({"judge": "own:Brief", "settings": {"most": "ten"}}, "judge own:Brief: settings .*: ValueError: no number"),
        ({"judge": "own:Half"}, "judge own:Half: has no messages and no verdict; both hooks are needed"),
        ({"judge": "own:Long"}, "own:Long: cannot be loaded: AttributeError"),
    ],
)
def test_code_that_cannot_be_used_is_named(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        judge({"protocol": "python", **config}, Told(lambda _: "1"), tmp_path)


def test_a_module_that_is_nowhere_is_named() -> None:
    with pytest.raises(ValidationError, match="no module 'nowhere'"):
        judge({"protocol": "python", "judge": "nowhere:Brief"}, Told(lambda _: "1"))
