"""The labels of a criterion in two halves."""

from pathlib import Path

from rft_pipeline.campaign import load_campaign
from rft_pipeline.store import Home
from rft_pipeline.suggest.halves import Halves, halves, labelled_rows
from tests.suggest.labelled import PROMPTS, write_anchors


def divided(folder: Path) -> Halves:
    campaign = load_campaign(folder)
    criterion = campaign.rubric.criteria[0]
    return halves(campaign, criterion, labelled_rows(campaign, Home.find().store, criterion))


def test_all_replies_to_a_prompt_are_in_one_half(tiny_campaign: Path) -> None:
    write_anchors(tiny_campaign, "polite", [0, 1] * PROMPTS)
    choosing, held_out = divided(tiny_campaign)
    assert (len(choosing.prompts), len(held_out.prompts)) == (PROMPTS // 2, PROMPTS // 2)
    assert not set(choosing.prompts) & set(held_out.prompts)
    assert choosing.rows["id"].sort().to_list() + held_out.rows["id"].sort().to_list() != []
    assert {*choosing.rows["id"], *held_out.rows["id"]} == {f"a{place}" for place in range(2 * PROMPTS)}
    assert (choosing.good, choosing.bad) == (PROMPTS // 2, PROMPTS // 2)


def test_a_prompt_that_is_added_moves_at_most_one_other(tiny_campaign: Path) -> None:
    write_anchors(tiny_campaign, "polite", [0, 1] * PROMPTS)
    before = divided(tiny_campaign)
    path = tiny_campaign / "anchors.jsonl"
    lines = path.read_text(encoding="utf-8")
    path.write_text(
        lines + lines.splitlines()[0].replace('"a0"', '"b0"').replace("lamp", "sofa") + "\n", encoding="utf-8"
    )
    after = divided(tiny_campaign)
    assert len(set(before.held_out.prompts) - set(after.held_out.prompts)) <= 1
    assert len(set(before.choosing.prompts) - set(after.choosing.prompts)) <= 1
    assert len(after.choosing.prompts) + len(after.held_out.prompts) == PROMPTS + 1
