"""The promotion's page: its numbers are those of the decision, and nothing in it becomes markup."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from rft_pipeline.promotion.decide import PROMPTS, Decision
from rft_pipeline.report.plots import to_png, to_svg
from rft_pipeline.report.promotion_page import bound_lines, forest, render_promotion
from rft_pipeline.report.templates import signed
from tests.promotion.test_decision import decided as decide
from tests.promotion.test_decision import replies
from tests.report.narrow import wrong_labels


def plain(decision: Decision) -> dict[str, Any]:
    rounds = [{**asdict(each), "passed": each.passed} for each in decision.rounds]
    found: dict[str, Any] = json.loads(json.dumps({**asdict(decision), "rounds": rounds}))
    return found


@pytest.fixture(scope="module")
def decided() -> dict[str, Any]:
    """Round 1 passes, round 2 is better, round 3 has the best reward and fails its gate, the alarms' judge, a stop."""
    champion = replies(0, 0.4, held_out=0.6)
    rounds = [replies(1, 0.5, held_out=0.6), replies(2, 0.6, held_out=0.6, alarm="warn")]
    rounds.append(replies(3, 0.9, polite=0.75, held_out=0.5, alarm="stop"))
    return plain(decide(*rounds, champion=champion))


def page_of(decided: dict[str, Any], title: str = "Support reply") -> str:
    return render_promotion(decided, title, "", "tiny/round_3/eval_reports/0123")


def row_of(page: str, round_: int) -> str:
    table = page[page.index('<table class="bounds stack">') :]
    return table[table.index(f"<td>round {round_}</td>") :].split("</tr>")[0]


def test_the_headline_names_the_round_that_won_and_what_it_won_by(decided: dict[str, Any]) -> None:
    headline = page_of(decided).split("<h2>Bounds")[0]
    assert "Round 2" in headline
    assert "is promoted over base" in headline
    assert "changed by +0.200" in headline
    assert "<dt>Passed</dt><dd>round 1, round 2</dd>" in headline
    assert "<dt>Failed</dt><dd>round 3</dd>" in headline


def test_the_table_holds_every_bound_of_the_decision(decided: dict[str, Any]) -> None:
    page = page_of(decided)
    assert wrong_labels(page) == []
    lines = bound_lines(decided)
    assert list(lines) == ["reward", "held-out prompts", "gate polite", "alarms' judge", "alarms"]
    assert (lines["held-out prompts"], lines["alarms"]) == ("at least 20", "not stopped")
    for each in decided["rounds"]:
        row = row_of(page, each["round"])
        assert each["policy"] in row
        for bound in each["bounds"]:
            shown = f">{bound['found']:.0f}<" if bound["name"] == PROMPTS else signed(bound["found"] or 0.0)
            assert bound["needed"] is None or shown in row
        assert f'<span class="chip {each["alarm"]}">{each["alarm"]}</span>' in row
    assert [">promoted<" in row_of(page, number) for number in (1, 2, 3)] == [False, True, False]


def test_what_failed_says_by_how_much(decided: dict[str, Any]) -> None:
    page = page_of(decided)
    assert "short by 0.030" in row_of(page, 3)
    assert "short by 0.080" in row_of(page, 3)
    assert "short by" not in row_of(page, 2)
    words = page[page.index("<h2>Reasons") :]
    assert "gate polite \N{MINUS SIGN}0.0500" in words
    assert "a stopped round cannot be promoted" in words
    assert words.count(">None.<") == 2


def test_the_forest_draws_each_difference_that_is_known(decided: dict[str, Any]) -> None:
    chart = forest(decided)
    assert chart is not None
    chart.to_dict()  # validates it
    svg = to_svg(chart)
    assert svg.count('aria-roledescription="point"') == 9
    figure = '<figure id="plot-forest" class="wide"><figcaption>Differences from base</figcaption>'
    assert f"{figure}{svg[:4]}" in page_of(decided)
    assert to_png(chart).startswith(b"\x89PNG")


def test_when_no_round_is_promoted_the_champion_stays() -> None:
    page = page_of(plain(decide(replies(1, 0.43), margin=0.05)))
    assert "No round" in page
    assert "Base remains the champion." in page
    assert "above +0.050" in page
    assert "short by 0.020" in row_of(page, 1)


def test_without_a_round_to_compare_or_a_number_to_draw_there_is_no_plot() -> None:
    champion = replies(2, 0.6)
    page = page_of(plain(decide(champion, champion=champion)))
    assert "No round has other weights." in page
    assert "<svg" not in page
    one_prompt = plain(decide(replies(1, 0.9, prompts=["p00"]), champion=replies(0, 0.4, prompts=["p00"])))
    assert forest(one_prompt) is None
    assert ">unknown<" in row_of(page_of(one_prompt), 1)


def test_names_never_become_markup(decided: dict[str, Any]) -> None:
    attack = '"><script>alert(1)</script>'
    bound = {**decided["rounds"][0]["bounds"][0], "name": attack, "said": attack}
    page = page_of({**decided, "rounds": [{**decided["rounds"][0], "bounds": [bound]}]}, title=attack)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


def test_the_page_says_which_look_it_is_what_it_spends_and_what_is_left(decided: dict[str, Any]) -> None:
    page = " ".join(page_of(decided).split())
    assert "This is decision 1 on these held-out prompts." in page
    assert "at most 0.05 (<code>promotion.error</code>)" in page
    assert "This decision uses 0.025 of it, 0.0083 per round; 0.025 is left" in page
    assert "Lower bounds (98.3 % intervals)" in page
