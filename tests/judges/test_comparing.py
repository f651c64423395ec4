"""The protocols that compare the replies to one prompt."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from rft_pipeline.judges import AnyJudge, Judge, Status, make_judge
from rft_pipeline.judges.retest import make_retest_judge
from rft_pipeline.rules import Rollout
from tests.judges.engines import OneEngine, Told, judgements

LISTWISE: dict[str, Any] = {"protocol": "listwise", "question": "Which is longest?"}
PAIRWISE: dict[str, Any] = {"protocol": "pairwise", "question": "Which is longer?"}
GROUP = [Rollout("Count.", "x" * length) for length in (3, 1, 4, 2)]


def judge(config: dict[str, Any], asker: Told) -> Judge:
    return make_judge(TypeAdapter(AnyJudge).validate_python(config), OneEngine(asker))


def by_length(text: str) -> list[tuple[str, int]]:
    """The ids and lengths of the replies that are shown, in order."""
    return [(name, len(reply)) for name, reply in re.findall(r"(R[0-9A-F]{4}\d+):\n```\n(.*?)\n```", text)]


def ranking(text: str, change: Callable[[list[str]], list[Any]] = list) -> str:
    ids = [name for name, _ in sorted(by_length(text), key=lambda shown: -shown[1])]
    return json.dumps({"reason": "by length", "ranking": change(ids)})


def longer(text: str) -> str:
    first, second = re.findall(r"Reply [AB]:\n```\n(.*?)\n```", text)
    return "A" if len(first) > len(second) else "B"


def test_listwise_scores_the_share_of_the_others_a_reply_beats() -> None:
    asker = Told(ranking)
    found = judgements(judge(LISTWISE, asker), GROUP)
    assert [each.score for each in found] == pytest.approx([2 / 3, 0, 1, 1 / 3])
    assert len(asker.asked) == 1
    assert found[2].reason.endswith("is 1 of 4. by length")
    assert sorted(each.details["shown_at"] for each in found) == [0, 1, 2, 3]
    assert sum(each.cost for each in found) == pytest.approx(0.5)


def test_listwise_judges_each_prompt_by_itself() -> None:
    other = [Rollout("Count again.", "x" * length) for length in (9, 8)]
    asker = Told(ranking)
    mixed = [GROUP[0], other[0], GROUP[1], other[1], GROUP[2], GROUP[3]]
    found = judgements(judge(LISTWISE, asker), mixed)
    assert [each.score for each in found] == pytest.approx([2 / 3, 1, 0, 0, 1, 1 / 3])
    assert len(asker.asked) == 2


def test_the_order_shown_follows_from_the_texts_and_not_from_the_order_they_came_in() -> None:
    asker = Told(ranking)
    judgements(judge(LISTWISE, asker), GROUP)
    judgements(judge(LISTWISE, asker), GROUP[::-1])
    assert asker.asked[0].messages == asker.asked[1].messages
    orders = set()
    for number in range(20):
        asker = Told(ranking)
        judgements(judge(LISTWISE, asker), [Rollout(f"Count {number}.", each.completion) for each in GROUP])
        orders.add(tuple(length for _, length in by_length(asker.asked[0].messages[0][1])))
    assert len(orders) > 10


@pytest.mark.parametrize(
    ("change", "scores"),
    [
        (lambda ids: ids[:3], [0.5, None, 1, 0]),
        (lambda ids: [*ids, ids[0]], [1, 0, None, 0.5]),
        (lambda ids: [*ids, "R00000", 7, None], [2 / 3, 0, 1, 1 / 3]),
        (lambda ids: ids[:1], [None] * 4),
        (lambda ids: [], [None] * 4),
        (lambda ids: "".join(ids), [None] * 4),
    ],
    ids=["missing", "doubled", "unknown", "one alone", "none", "no list"],
)
def test_listwise_leaves_unscored_whose_id_is_missing_or_doubled(change: Any, scores: list[float | None]) -> None:
    found = judgements(judge(LISTWISE, Told(lambda text: ranking(text, change))), GROUP)
    assert [each.score for each in found] == pytest.approx(scores)
    assert {each.status for each in found if each.score is None} <= {Status.UNSCORED}


@pytest.mark.parametrize("config", [LISTWISE, PAIRWISE], ids=["listwise", "pairwise"])
def test_a_call_that_failed_leaves_the_group_to_be_asked_again(config: dict[str, Any]) -> None:
    found = judgements(judge(config, Told(lambda _: None)), GROUP)
    assert {each.status for each in found} == {Status.FAILED}


def test_pairwise_scores_the_mean_over_the_opponents() -> None:
    asker = Told(longer)
    found = judgements(judge(PAIRWISE, asker), GROUP)
    assert [each.score for each in found] == pytest.approx([2 / 3, 0, 1, 1 / 3])
    assert len(asker.asked) == 6 * 2
    by_order = "0 changed with the order; the reply shown first won 3 times, the second 3 times"
    assert found[2].reason == f"won 3, tied 0, of 3; {by_order}"
    assert found[2].details == {"pairs": 3, "changed": 0, "first_won": 3, "second_won": 3}
    assert sum(each.cost for each in found) == pytest.approx(0.5 * 12)


@pytest.mark.parametrize("answer", ["A", "B", {"A": -0.1, "B": -3.0}])
def test_a_judge_that_prefers_a_place_ties_every_pair(answer: Any) -> None:
    found = judgements(judge(PAIRWISE, Told(lambda _: answer)), GROUP)
    assert [each.score for each in found] == [0.5] * 4
    won = {"first_won": 0, "second_won": 6} if answer == "B" else {"first_won": 6, "second_won": 0}
    assert [each.details for each in found] == [{"pairs": 3, "changed": 3, **won}] * 4


def test_a_second_time_the_seeds_are_others_and_groups_are_shown_the_other_way_round() -> None:
    once, again = Told(ranking), Told(ranking)
    judgements(judge(LISTWISE, once), GROUP)
    judgements(make_retest_judge(TypeAdapter(AnyJudge).validate_python(LISTWISE), OneEngine(again)), GROUP)
    shown, turned = ([length for _, length in by_length(asker.asked[0].messages[-1][1])] for asker in (once, again))
    assert turned == shown[::-1]
    assert once.asked[0].seed != again.asked[0].seed


def test_pairwise_reads_json_and_leaves_unscored_what_it_cannot_read() -> None:
    config = {**PAIRWISE, "answer": "json"}
    won = Told(lambda text: json.dumps({"reason": "", "better": longer(text)}))
    assert judgements(judge(config, won), GROUP)[2].score == 1.0
    tie = Told(lambda _: '{"reason": "", "better": "tie"}')
    assert {each.score for each in judgements(judge(config, tie), GROUP)} == {0.5}
    garbled = judgements(judge(config, Told(lambda _: "both")), GROUP)
    assert {each.status for each in garbled} == {Status.UNSCORED}
    assert garbled[0].reason == "3 comparisons could not be read: no JSON object in it"


def test_pairwise_with_fewer_opponents_asks_fewer_questions() -> None:
    group = [Rollout("Count.", "x" * length) for length in range(1, 9)]
    asker = Told(longer)
    found = judgements(judge({**PAIRWISE, "opponents": 2}, asker), group)
    assert len(asker.asked) == 8 * 2
    assert (found[0].score, found[7].score) == (0.0, 1.0)
    assert all("of 2" in each.reason for each in found)


@pytest.mark.parametrize(("config", "answer"), [(LISTWISE, ranking), (PAIRWISE, longer)], ids=["listwise", "pairwise"])
def test_an_empty_reply_loses_and_is_never_shown(config: dict[str, Any], answer: Any) -> None:
    asker = Told(answer)
    found = judgements(judge(config, asker), [*GROUP[:2], Rollout("Count.", " ")])
    assert [each.score for each in found] == [1.0, 0.5, 0.0]
    assert all("``` ```" not in text and "```\n \n```" not in text for each in asker.asked for _, text in each.messages)


@pytest.mark.parametrize("config", [LISTWISE, PAIRWISE], ids=["listwise", "pairwise"])
def test_a_reply_with_nobody_to_compare_it_with_is_in_the_middle(config: dict[str, Any]) -> None:
    asker = Told(lambda _: None)
    assert [each.score for each in judgements(judge(config, asker), GROUP[:1])] == [0.5]
    alone = judgements(judge(config, asker), [GROUP[0], Rollout("Count.", "")])
    assert [each.score for each in alone] == [1.0, 0.0]
    assert asker.asked == []


@pytest.mark.parametrize(("config", "answer"), [(LISTWISE, ranking), (PAIRWISE, longer)], ids=["listwise", "pairwise"])
def test_a_wanted_reference_that_is_missing_leaves_the_group_unscored(config: dict[str, Any], answer: Any) -> None:
    asker = Told(answer)
    found = judgements(judge({**config, "reference": True}, asker), GROUP)
    assert {each.status for each in found} == {Status.UNSCORED}
    assert asker.asked == []
    known = [Rollout(each.prompt, each.completion, fields={"reference": "yy"}) for each in GROUP]
    assert judgements(judge({**config, "reference": True}, asker), known)[2].score == 1.0
    assert "A good reply would be:\n```\nyy\n```" in asker.asked[0].messages[0][1]
