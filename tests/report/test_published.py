"""The folder of reports: its pages link to one another, and an index lists the campaigns."""

import json
import re
from pathlib import Path

from rft_pipeline.report.published import publish, published_campaigns, write_index
from rft_pipeline.store.champions import Champion
from tests.report.narrow import wrong_labels

EMPTY = '<main>\n<nav class="pages"></nav>\n<p>&lt;nav class="pages"&gt;&lt;/nav&gt;</p>'


def links(page: Path) -> list[str]:
    return re.findall(r'href="([^"]+)"', page.read_text(encoding="utf-8"))


def numbers(**others: object) -> str:
    base = {"name": "base", "reward": 0.5, "lower95": 0.4, "upper95": 0.6}
    newest = {"name": "round 2", "reward": 0.75, "lower95": 0.7, "upper95": 0.8}
    delta = {"mean": 0.25, "lower95": 0.1, "upper95": 0.4}
    return json.dumps({"rounds": [base, newest], "delta": delta, **others})


def test_pages_link_to_those_that_exist_also_those_written_before(tmp_path: Path) -> None:
    publish(tmp_path, "a b", {".html": EMPTY, ".rounds.html": EMPTY})
    assert links(tmp_path / "a b.html") == ["index.html", "a%20b.html", "a%20b.rounds.html"]
    publish(tmp_path, "a b", {".promotion.html": EMPTY})
    for page in ("a b.html", "a b.rounds.html", "a b.promotion.html"):
        assert links(tmp_path / page) == ["index.html", "a%20b.html", "a%20b.rounds.html", "a%20b.promotion.html"]
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert text.count(' aria-current="page"') == 1
        assert text.endswith('<p>&lt;nav class="pages"&gt;&lt;/nav&gt;</p>')


def test_nothing_is_written_that_is_there(tmp_path: Path) -> None:
    texts = {".html": EMPTY, ".rounds.html": EMPTY, ".json": numbers()}
    publish(tmp_path, "first", texts)
    write_index(tmp_path, {"first": None})
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    publish(tmp_path, "first", texts)
    write_index(tmp_path, {"first": None})
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before
    publish(tmp_path, "first", {".html": f"{EMPTY}<p>new"})
    assert {path.name for path, inode in before.items() if path.stat().st_ino != inode} == {"first.html"}


def test_the_index_names_reward_champion_and_alarms_of_every_campaign(tmp_path: Path) -> None:
    verdict = {"round": 2, "level": "stop", "findings": [{"cause": "kl", "level": "stop", "sentence": "far"}]}
    publish(tmp_path, "first", {".html": EMPTY, ".json": numbers()})
    publish(tmp_path, "second", {".html": EMPTY, ".json": numbers(alarms={"verdicts": [verdict]})})
    assert published_campaigns(tmp_path) == ["first", "second"]
    champion = Champion("second/round_1/checkpoints/abc", "hash", 1, "", "", "better")
    write_index(tmp_path, {"first": None, "second": champion})
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert wrong_labels(page) == []
    first, second = page[page.index("<td>first") :].split("</tr>")[:2]
    assert "0.750" in first
    assert "0.700 to 0.800" in first
    assert "+0.250" in first
    assert "not watched" in first
    assert "none" in first
    assert "stop" in second
    assert "KL to the baseline" in second
    assert "round 1<br><code>abc</code>" in second
    assert links(tmp_path / "index.html") == ["first.html", "second.html"]
