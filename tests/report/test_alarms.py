"""The page of a report with alarms."""

from html import unescape
from typing import Any

import polars as pl
import pytest

from rft_pipeline.report.alarm_plots import alarm_charts
from rft_pipeline.report.page import render_page, verdict
from rft_pipeline.report.plots import to_png
from rft_pipeline.report.templates import marked
from rft_pipeline.report.timeline import LEVELS
from tests.report.narrow import wrong_labels
from tests.report.simulated import simulated


@pytest.fixture(scope="module")
def gamed() -> tuple[dict[str, Any], dict[int, pl.DataFrame]]:
    return simulated("phrase")


def test_the_page_says_what_fired_in_each_round_and_where_the_next_one_starts(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    report, rows = gamed
    page = render_page(report, rows, "Support", "")
    assert wrong_labels(page) == []
    section = page[page.index('<section id="alarms">') : page.index("<h2>Criteria")]
    table = section[section.index("<h3>Why") :]
    assert table.count('class="chip stop"') == sum(each["level"] == "stop" for each in report["alarms"]["verdicts"])
    assert "A phrase raises the reward: &#34;" in section
    assert "Judge of kind: the judge is another than at the first scoring" in section
    assert all(f'<figure id="plot-{name}">' in section for name in ("held_out", "frontier", "anchors", "drift"))
    assert f"The next round starts from round {report['alarms']['start_round']}." in section


def test_a_round_that_the_alarms_stop_is_no_success_in_the_headline(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    report, rows = gamed
    assert report["alarms"]["verdicts"][-1]["level"] == "stop"
    assert verdict(report["delta"]) == "up"
    headline = render_page(report, rows, "Support", "").split('<section class="headline ')[1].split("</section>")[0]
    assert headline.startswith("stopped")
    assert "The alarms stopped this round." in headline
    assert "Better than base" not in headline
    assert "A phrase raises the reward" in headline


def test_a_warning_stands_beside_the_gain_and_nothing_where_nothing_fired(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    *_, last = gamed[0]["alarms"]["verdicts"]
    for level, said in (("warn", "KL: far."), ("ok", "KL: near.")):
        found = {**last["findings"][0], "cause": "kl", "level": level, "sentence": said}
        alarms = {**gamed[0]["alarms"], "verdicts": [{**last, "level": level, "findings": [found]}]}
        page = render_page({**gamed[0], "alarms": alarms}, gamed[1], "Support", "")
        headline = page.split('<section class="headline ')[1].split("</section>")[0]
        warned = level == "warn"
        assert headline.startswith("warned" if warned else "up"), "no green number where the alarms warn"
        assert ("Better than base." in headline) == (not warned)
        assert ("The alarms warn about this gain." in headline) == warned
        assert ("KL to the baseline" in headline) == warned


def test_the_timeline_has_a_cell_a_round_and_alarm_with_its_reason_on_hover(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    report, rows = gamed
    page = render_page(report, rows, "Support", "")
    strip = page[page.index('id="timeline"') : page.index("<h3>Why")]
    phrase = strip[strip.index("<td>A phrase raises the reward</td>") :].split("</tr>")[0]
    verdicts = report["alarms"]["verdicts"]
    said = [[found["level"] for found in each["findings"] if found["cause"] == "phrase"] for each in verdicts]
    assert [cell.split('"')[0] for cell in phrase.split('class="cell ')[1:]] == [
        max(levels, key=LEVELS.index) for levels in said
    ]
    assert 'title="A phrase raises the reward: &#34;' in phrase
    assert strip.count("<tr>") == 1 + len({found["cause"] for each in verdicts for found in each["findings"]})


def test_words_of_replies_never_become_markup_in_the_timeline(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    attack = '"><script>alert(1)</script>'
    (newest, *_) = gamed[0]["alarms"]["verdicts"]
    found = {**newest["findings"][0], "sentence": attack}
    alarms = {**gamed[0]["alarms"], "verdicts": [{**newest, "reason": attack, "findings": [found]}]}
    page = render_page({**gamed[0], "alarms": alarms}, gamed[1], "Support", "")
    assert "<script" not in page
    assert 'title="&#34;&gt;&lt;script&gt;' in page


def test_words_that_pay_are_shown_with_replies_that_hold_them_as_text(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    *earlier, last = gamed[0]["alarms"]["verdicts"]
    assert last["phrases"][0]["examples"]
    said = {**last["phrases"][0], "text": "all is well", "examples": ["All is well.", "<b>All</b> is well</p>"]}
    alarms = {**gamed[0]["alarms"], "verdicts": [*earlier, {**last, "phrases": [said]}]}
    page = render_page({**gamed[0], "alarms": alarms}, gamed[1], "Support", "")
    words = page[page.index("<h3>Phrases that go with a high reward") :].split("</table>")[0]
    assert '<p class="soft" dir="auto">All is well.</p>' in words
    assert '<p class="soft" dir="auto">&lt;b&gt;All&lt;/b&gt; is well&lt;/p&gt;</p>' in words
    assert words.count("<details>") == 1


def test_a_reason_shows_the_phrase_its_shares_and_three_replies_as_text(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    report, rows = gamed
    *earlier, last = report["alarms"]["verdicts"]
    phrase = next(each for each in last["findings"] if each["cause"] == "phrase")
    assert phrase["level"] == "stop"
    assert len(phrase["examples"]) == 3
    assert all("verified by experts" in each for each in phrase["examples"])
    page = render_page(report, rows, "Support", "")
    words = phrase["shared"]["words"]
    assert "verified" in words
    assert page.index(f'<mark dir="auto">{words}</mark>') < page.index('id="timeline"')
    last_row = page[page.index("<h3>Why") :].split("</table>")[0].split("<tr>")[-1]
    shown = last_row[last_row.index("A phrase raises the reward: &#34;") :]
    assert "% of the replies (" in shown.split("</p>")[0]
    assert "% at base), adds " in shown.split("</p>")[0]
    texts = [each.split("</blockquote>")[0] for each in shown.split('<blockquote dir="auto">')[1:4]]
    assert [unescape(text) for text in texts] == phrase["examples"]
    attack = {**phrase, "sentence": "Said.", "examples": ["<script>alert(1)</script>", "</blockquote><b>", "ok", "4th"]}
    verdicts = [*earlier, {**last, "findings": [attack, {**attack, "level": "ok"}]}]
    page = render_page({**report, "alarms": {**report["alarms"], "verdicts": verdicts}}, rows, "Support", "")
    last_row = page[page.index("<h3>Why") :].split("</table>")[0].split("<tr>")[-1]
    assert "<script" not in page
    assert last_row.count("<blockquote") == last_row.count("</blockquote>") == 3  # none below the check that passed
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in last_row


def test_words_that_many_replies_share_stand_first_with_their_share_and_are_marked_in_three_replies(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]],
) -> None:
    report, rows = gamed
    *earlier, last = report["alarms"]["verdicts"]
    shared = {"what": "have the same words", "words": "oak bench split", "share": 0.83, "base_share": 0.1}
    said = ["Oak-bench SPLIT <b>", "An oak bench: split", "Oak bench split.", "4th"]
    fixed = {**last["findings"][0], "cause": "fixed_phrase", "level": "stop", "examples": said, "shared": shared}
    own = {**fixed, "cause": "prompt_beginning", "shared": {**shared, "what": "begin with their prompt", "words": ""}}
    fine = {**fixed, "level": "ok"}
    verdicts = [*earlier, {**last, "findings": [fixed, own, fine]}]
    page = render_page({**report, "alarms": {**report["alarms"], "verdicts": verdicts}}, rows, "Support", "")
    section = page[page.index('<section id="alarms">') : page.index('id="timeline"')]
    first, second = section.split('<div class="shared stop">')[1:]
    assert "83 % of the replies of round 3" in first
    assert '<mark dir="auto">oak bench split</mark>' in first
    assert "(base: 10 %)" in first
    assert '<blockquote dir="auto"><mark>Oak-bench SPLIT</mark> &lt;b&gt;</blockquote>' in first
    assert first.count("<blockquote") == 3
    assert "begin with their prompt" in second
    assert "<mark" not in second


@pytest.mark.parametrize("fired", [True, False])
def test_an_alarm_that_names_no_words_shows_the_phrase_that_grew_most(
    gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]], fired: bool
) -> None:
    report, rows = gamed
    *earlier, last = report["alarms"]["verdicts"]
    shared = {"what": "have the same words", "words": "thank you for", "share": 0.16, "base_share": 0.0}
    grown = {**last["findings"][0], "cause": "fixed_phrase", "level": "ok", "examples": ["Thank you for"]}
    level = "warn" if fired else "ok"
    far = {**grown, "cause": "kl", "level": level, "sentence": "KL: far.", "shared": None}
    verdicts = [*earlier, {**last, "level": level, "findings": [far, {**grown, "shared": shared}]}]
    page = render_page({**report, "alarms": {**report["alarms"], "verdicts": verdicts}}, rows, "Support", "")
    section = page[page.index('<section id="alarms">') : page.index('id="timeline"')]
    assert ("16 % of the replies of round 3" in section) == fired
    assert ("<blockquote" in section) == fired
    assert ("grew most; by itself no alarm" in section) == fired


def test_marking_words_escapes_the_text() -> None:
    assert marked("<i>A b</i> & a, B!", "a b") == "&lt;i&gt;<mark>A b</mark>&lt;/i&gt; &amp; <mark>a, B</mark>!"
    assert marked("<i>", "") == marked("<i>", "b") == "&lt;i&gt;"


def test_the_plots_draw_the_numbers_of_the_report(gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]]) -> None:
    alarms = gamed[0]["alarms"]
    drawn = alarm_charts(alarms)
    points = [
        point for point in drawn["frontier"].layer[1].data.values if point["score"] == "score of the alarms' judge"
    ]
    told = [each["held_out_delta"] for each in alarms["scores"]]
    assert [point["mean"] for point in points] == [0.0, *(each["mean"] for each in told[1:])]
    assert [point["lower"] for point in points] == [None, *(each["lower95"] for each in told[1:])]
    assert [point["distance"] ** 2 for point in points] == pytest.approx(
        [0.0, *(each["kl"]["mean"] for each in alarms["scores"][1:])]
    )
    bars = drawn["anchors"].data.values
    assert [bar["good"] for bar in bars] == [each["anchors"]["kind"]["good"] for each in alarms["verdicts"]]


def test_all_alarm_plots_draw(gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]]) -> None:
    for chart in alarm_charts(gamed[0]["alarms"]).values():
        chart.to_dict()  # validates it
        assert to_png(chart).startswith(b"\x89PNG")


def test_without_a_held_out_judge_and_anchors_only_the_reward_is_drawn() -> None:
    report, _ = simulated("none", rounds=1)
    alarms = report["alarms"]
    for each in alarms["scores"]:
        each["held_out"] = {"mean": None, "lower95": None, "upper95": None}
        each["kl"] = None
    for each in alarms["verdicts"]:
        each["anchors"] = {}
    assert list(alarm_charts(alarms)) == ["held_out"]


def test_a_report_without_alarms_has_no_section_for_them(gamed: tuple[dict[str, Any], dict[int, pl.DataFrame]]) -> None:
    report = {name: value for name, value in gamed[0].items() if name != "alarms"}
    assert 'id="alarms"' not in render_page(report, gamed[1], "Support", "")
