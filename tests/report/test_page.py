import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import polars as pl
import pytest

from rft_pipeline.evaluation.compare import RoundRows, compare_rounds
from rft_pipeline.report import plots
from rft_pipeline.report.learning import learning_curves
from rft_pipeline.report.page import render_page, verdict
from rft_pipeline.report.plots import charts, length_edges, to_png, to_svg
from rft_pipeline.report.templates import NOTHING, bounds, minus, percent, signed
from tests.report.narrow import wrong_labels

RowsByRound = dict[int, pl.DataFrame]
ATTACK = '<script>alert(1)</script><img src="https://evil.example/x.png" onerror=alert(2)></blockquote>'
NAMES = ["polite", "finishes", "no_invented_facts"]


def round_rows(
    number: int, prompts: int = 12, completion: str = "We are sorry. Could you send us your order number?"
) -> pl.DataFrame:
    rng = np.random.default_rng(number)
    rows = []
    for i in range(prompts):
        polite = float(np.clip(rng.normal(0.4 + 0.2 * number, 0.1), 0, 1))
        facts = float(i % 6 > 0)
        rows.append(
            {
                "prompt_id": f"p{i}",
                "sample_index": 0,
                "messages": json.dumps([{"role": "user", "content": f"Where is my <b>parcel</b> no. {i}?"}]),
                "completion": completion,
                "finish_reason": "stop",
                "tokens": list(range(20 + i)),
                "thought_tokens": 0,
                "scores": {"polite": None if i == 3 else polite, "finishes": 1.0, "no_invented_facts": facts},
                "gated": facts < 0.5,
                "reward": polite * facts,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def report_of(rows_by_round: RowsByRound) -> dict[str, Any]:
    rounds = [RoundRows(number, f"policy-{number}", rows) for number, rows in rows_by_round.items()]
    return compare_rounds(rounds, ["polite"], resamples=200, seed=0, gates={"no_invented_facts": 0.5})


def page_of(rows_by_round: RowsByRound, title: str = "Support replies") -> str:
    return render_page(report_of(rows_by_round), rows_by_round, title, "First replies & more")


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def rows_by_round() -> RowsByRound:
    return {0: round_rows(0), 1: round_rows(1, completion=ATTACK)}


@pytest.fixture(scope="module")
def page(rows_by_round: RowsByRound) -> str:
    return page_of(rows_by_round, title="<i>Support</i>")


def test_untrusted_text_never_becomes_markup(page: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;i&gt;Support&lt;/i&gt;" in page
    assert "my &lt;b&gt;parcel&lt;/b&gt; no." in page
    tags = {tag for tag, _ in Elements(page).found}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    assert not any(name.startswith("on") for _, attrs in Elements(page).found for name in attrs)


def test_the_page_loads_nothing(page: str) -> None:
    for tag, attrs in Elements(page).found:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert name not in attrs, f"<{tag}> has {name}={attrs.get(name)}"
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_all_plots_are_on_the_page(page: str, rows_by_round: RowsByRound) -> None:
    names = list(charts(report_of(rows_by_round), rows_by_round))
    assert names == ["reward", "criteria", "lengths", "rewards"]
    assert all(f'<figure id="plot-{name}">' in page for name in names)
    assert page.count("<svg") == 4


def test_the_headline_gives_the_change_and_its_interval(page: str, rows_by_round: RowsByRound) -> None:
    delta = report_of(rows_by_round)["delta"]
    headline = page[page.index('<section class="headline') : page.index("<h2>Rounds")]
    assert signed(delta["mean"]) in headline
    assert bounds(delta, plus=True) in headline
    assert "Better than base." in headline


def test_judges_rules_and_gates_are_told_apart(page: str) -> None:
    row = {
        name: page[page.index(f"<td>{name}") :].split("</tr>")[0]
        for name in ("polite", "finishes", "no invented facts")
    }
    assert "chip judge" in row["polite"]
    assert "chip rule" in row["finishes"]
    assert "gate ≥ 0.5" in row["no invented facts"]
    assert "gate ≥" not in row["finishes"]


def test_ten_examples_stand_side_by_side_with_every_score_and_an_unscored_one_as_a_dash(page: str) -> None:
    assert page.count('<article class="example">') == 10
    assert page.count('<ul class="scores">') == 20
    assert len(re.findall(r"<li><span>[a-z ]+</span>", page)) == 20 * len(NAMES)
    assert re.search(rf"<span>polite</span>.*<b>{NOTHING}</b>", page)
    assert ">gated</em>" in page


def test_cells_name_their_column_on_a_narrow_screen(page: str) -> None:
    assert wrong_labels(page) == []


def test_base_alone_renders_without_a_change() -> None:
    page = page_of({0: round_rows(0)})
    assert "Nothing to compare yet." in page
    assert "Replies, side by side" not in page


def test_many_rounds_and_nothing_scored_render() -> None:
    unscored = [rows.with_columns(pl.lit(None, pl.Float64).alias("reward")) for rows in (round_rows(0), round_rows(1))]
    assert NOTHING in page_of(dict(enumerate(unscored)))
    page = page_of({number: round_rows(number, prompts=3) for number in range(9)})
    assert page.count("<td>round 5</td>") == 2


def test_a_mean_without_an_interval_is_drawn_without_one(rows_by_round: RowsByRound) -> None:
    def intervals(rows: RowsByRound) -> int:
        svg = to_svg(charts(report_of(rows), rows)["criteria"])
        return svg.count('aria-roledescription="rule mark"')

    one_prompt = {0: round_rows(0, prompts=1), 1: round_rows(1, prompts=1)}
    assert intervals(rows_by_round) == 2 * len(NAMES)
    assert intervals(one_prompt) == 0
    assert "Too few scored prompts for an interval." in page_of(one_prompt)


@pytest.mark.parametrize("baseline", ["base", "warm start"])
def test_the_dashed_line_is_at_the_reward_of_the_baseline(baseline: str) -> None:
    (other,) = {"base", "warm start"} - {baseline}
    rounds = [RoundRows(0, "policy-0", round_rows(0), baseline), RoundRows(1, "policy-1", round_rows(1))]
    compared = RoundRows(0, "policy-2", round_rows(2), other)
    report = compare_rounds(rounds, ["polite"], resamples=200, seed=0, other=compared)
    drawn = charts(report, {each.round: each.rows for each in rounds})["reward"].to_dict(validate=False)
    (line,) = [each for each in drawn["layer"] if "strokeDash" in each["mark"]]
    assert [point["round"] for point in drawn["datasets"][line["data"]["name"]]] == [baseline]


def test_plots_are_svg_and_png(rows_by_round: RowsByRound) -> None:
    for chart in charts(report_of(rows_by_round), rows_by_round).values():
        chart.to_dict()  # validates it
        assert to_svg(chart).startswith("<svg")
        assert to_png(chart).startswith(b"\x89PNG")


def test_a_report_drawn_twice_is_the_same_to_the_byte(page: str, rows_by_round: RowsByRound) -> None:
    plots.drawn.cache_clear()
    assert page_of(rows_by_round, title="<i>Support</i>") == page


def test_length_bins_hold_the_longest_reply_and_are_few() -> None:
    assert length_edges({"base": np.array([3, 9])}).tolist() == list(range(11))
    edges = length_edges({"base": np.array([48]), "round 1": np.array([1000])})
    assert edges[-1] > 1000
    assert len(edges) <= 26


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [(0.01, 0.1, "up"), (-0.1, -0.01, "down"), (0.0, 0.1, "unclear"), (None, None, "unclear")],
)
def test_a_change_counts_only_when_its_whole_interval_does(
    lower: float | None, upper: float | None, expected: str
) -> None:
    assert verdict({"mean": 0.05, "lower95": lower, "upper95": upper}) == expected


def test_numbers_read_as_people_write_them() -> None:
    assert [signed(value) for value in (0.0312, -0.5, -0.0001, None)] == [
        "+0.031",
        "\N{MINUS SIGN}0.500",
        "0.000",
        NOTHING,
    ]
    assert [percent(share) for share in (0.0, 0.001, 0.126, None)] == ["0 %", "<1 %", "13 %", NOTHING]


def test_learning_curves_draw_every_number_or_only_those_that_move() -> None:
    generations = [{"generation": n, "reward": n / 4, "score_polite": 0.5, "loss": 0.1} for n in (1, 2, 3)]
    drawn = learning_curves(generations)
    assert list(drawn) == ["learning_scores", "learning_loss"]
    for chart in drawn.values():
        chart.to_dict()  # validates it
        assert to_svg(chart).startswith("<svg")
    assert list(learning_curves(generations, only_moving=True)) == ["learning_scores"]


def test_only_a_minus_before_a_number_is_one() -> None:
    said = "reward -0.05 (95 % interval -0.1 to +0.2), held-out-2 of 2026-11-29"
    assert minus(said) == "reward −0.05 (95 % interval −0.1 to +0.2), held-out-2 of 2026-11-29"
