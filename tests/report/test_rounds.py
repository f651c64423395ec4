"""The page of rounds: its data, and that replies stay text in a browser."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.evaluation.compare import RoundRows
from rft_pipeline.report import rounds_page
from rft_pipeline.report.rounds_page import Criteria, held_out_view, render_rounds, training_view

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!-- it's & \u2028"
CRITERIA = Criteria(["polite", "short", "clean"], judged=["polite"], weighted=["polite", "short"])
NO_SCORE = {"polite": None, "short": None, "clean": None}


def row(prompt: str, completion: str, scores: dict[str, float | None], **others: Any) -> dict[str, Any]:
    messages = json.dumps([{"role": "user", "content": f"Where is parcel {prompt}?"}])
    known = {"finish_reason": "stop", "gated": False, "reward": 0.5, "advantage": 0.0, "excluded": None}
    return {"prompt_id": prompt, "messages": messages, "completion": completion, "scores": scores, **known, **others}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None).cast({"reward": pl.Float64, "excluded": pl.String})


def data(page: str) -> list[dict[str, Any]]:
    return [json.loads(found) for found in re.findall(r'<script type="application/json" id="\S+">(.*?)</script>', page)]


def test_a_round_has_every_prompt_with_all_its_replies_and_their_marks() -> None:
    high, low = {"polite": 0.9, "short": 1.0, "clean": 0.0}, {"polite": 0.3, "short": 1.0, "clean": 1.0}
    between = {"polite": 0.5, "short": 0.123456, "clean": 1.0}
    batch = frame(
        [
            row("a", "Sent today.", high, generation=1, reward=0.95, advantage=1.25),
            row("b", "Why?", between, generation=1, gated=True, reward=0.0, advantage=-1.0),
            row("a", "It is", low, generation=1, finish_reason="length", reward=0.65, advantage=-1.25),
            row("b", "", NO_SCORE, generation=2, reward=None, excluded="unscored: polite"),
        ]
    )
    found = training_view(3, batch, CRITERIA)
    assert (found["title"], found["criteria"]) == ("Training, round 3", ["polite", "short", "clean"])
    assert found["prompts"] == [
        [
            "a",
            "Where is parcel a?",
            [
                [1, "Sent today.", 0.95, 1.25, [0.9, 1.0, 0.0], []],
                [1, "It is", 0.65, -1.25, [0.3, 1.0, 1.0], ["criteria disagree", "truncated"]],
            ],
        ],
        [
            "b",
            "Where is parcel b?",
            [
                [1, "Why?", 0.0, -1.0, [0.5, 0.1235, 1.0], ["unsure", "gated"]],
                [2, "", None, 0.0, [None, None, None], ["trains nothing: unscored: polite"]],
            ],
        ],
    ]


def test_base_and_all_rounds_answer_the_same_held_out_prompt_side_by_side() -> None:
    sure = {"polite": 0.9, "short": 1.0, "clean": 1.0}
    without_variance = {"excluded": "group without variance"}
    rounds = [RoundRows(0, "p", frame([row("a", "No.", sure, reward=0.25, **without_variance)]))]
    rounds += [RoundRows(n, "q", frame([row("a", f"Sorry, {n}.", sure, reward=0.75)])) for n in (1, 2)]
    found = held_out_view(rounds, "base", CRITERIA)
    assert found["policies"] == ["base", "round 1", "round 2"]
    ((_, _, replies),) = found["prompts"]
    assert [(reply[0], reply[1], reply[2]) for reply in replies] == [
        ("base", "No.", 0.25),
        ("round 1", "Sorry, 1.", 0.75),
        ("round 2", "Sorry, 2.", 0.75),
    ]
    assert all(reply[3] is None and reply[5] == [] for reply in replies)


def test_a_reply_cannot_leave_the_data_and_only_our_script_may_run() -> None:
    rows = [row(ATTACK, ATTACK, NO_SCORE, generation=1)]
    page = render_rounds(
        [RoundRows(0, "p", frame(rows))], "base", {1: frame(rows)}, CRITERIA, ATTACK, ATTACK, {ATTACK: ATTACK}
    )
    assert page.count("</script>") == 3
    assert "<img" not in page
    assert [view["prompts"][0][2][0][1] for view in data(page)] == [ATTACK, ATTACK]
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in page
    assert "innerHTML" not in script
    assert "insertAdjacentHTML" not in script


@pytest.mark.parametrize(
    ("replies", "shown"),
    [({}, []), ({1: 4, 2: 4, 3: 4}, [3, 2, 1]), ({1: 4, 2: 5, 3: 6}, [3, 2]), ({1: 1, 2: 13}, [2])],
)
def test_a_page_holds_the_newest_round_and_as_many_before_it_as_fit(
    replies: dict[int, int], shown: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_page, "MOST_REPLIES", 12)
    batches = {round_: frame([row("p", "Hi.", NO_SCORE, generation=1)] * count) for round_, count in replies.items()}
    base = RoundRows(0, "p", frame([row("p", "Hi.", NO_SCORE)]))
    page = render_rounds([base], "base", batches, CRITERIA, "t", "", {})
    assert [view["title"] for view in data(page)[1:]] == [f"Training, round {round_}" for round_ in shown]
    left_out = ", ".join(str(round_) for round_ in replies if round_ not in shown)
    named = re.findall(r"Training replies of rounds? ([\d, ]+)\s+are left out here", page)
    assert named == ([left_out] if left_out else [])


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_the_first_ten_prompts_of_ten_thousand_replies_as_text(tmp_path: Path) -> None:
    scores = {"polite": 0.5, "short": 1.0, "clean": 1.0}
    said = f"{ATTACK} {'We are sorry about the parcel. ' * 8}"
    rows = [row(f"p{i // 8}", f"{i} {said}", scores, generation=1, reward=i / 10_000) for i in range(10_000)]
    ids = {f"p{i}": f"G{i}" for i in range(1250)}
    page = render_rounds([RoundRows(0, "p", frame(rows[::8]))], "base", {1: frame(rows)}, CRITERIA, "Many", "", ids)
    assert len(page) < 8_000_000
    (tmp_path / "rounds.html").write_text(page, encoding="utf-8")
    address = (tmp_path / "rounds.html").as_uri() + "#view=1&sort=best&mark=unsure"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=240, check=True)
    seen = shown.stdout[: shown.stdout.index('<script type="application/json"')]
    assert "1 to 10 of 1250 prompts" in seen
    assert "<small>G1249 \N{MIDDLE DOT} p1249</small>" in seen, "the id in the user's file, and prompt_id"
    assert seen.count("<article") == 10
    assert seen.count("<blockquote") == 80
    assert seen.count("&lt;/script&gt;&lt;script&gt;alert(1)") == 80
    assert "<img" not in seen
    assert seen.index("9992 &lt;/script") < seen.index("9984 &lt;/script")
