"""The labels of a criterion in two halves."""

import json
from pathlib import Path

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.exports import draw_export
from rft_pipeline.labels.files import write_export
from rft_pipeline.store import Home
from rft_pipeline.suggest.halves import Halves, halves, labelled_rows
from tests.labels.sheets import filled, imported
from tests.runs import edit
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


def test_replies_that_people_labelled_count_and_share_their_half_with_an_anchor_of_the_same_prompt(
    finished_copy: Path, tmp_path: Path
) -> None:
    home, campaign = Home.find(), load_campaign(finished_copy)
    path = write_export(draw_export(campaign, home, 8), home.store, tmp_path / "out", "csv")
    sheet = filled(path)
    imported(path)
    criterion = campaign.rubric.criteria[0]
    alone = labelled_rows(campaign, home.store, criterion)
    assert sorted(alone["rollout_id"]) == sorted(row[0] for row in sheet[1:])
    assert alone["labels"].struct.field("polite").sum() == 7
    prompt = json.loads(alone["messages"][0])[-1]["content"]
    anchor = {"id": "same", "prompt": prompt, "completion": "Gladly.", "labels": {"polite": 1}}
    (finished_copy / "anchors.jsonl").write_text(json.dumps(anchor) + "\n", encoding="utf-8")
    edit(finished_copy / "campaign.yaml", "anchors", "anchors.jsonl")
    both = labelled_rows(load_campaign(finished_copy), home.store, criterion)
    assert both.height == 9
    ((shared, answers),) = both.filter(messages=alone["messages"][0]).group_by("prompt_id").len().rows()
    assert answers == 1 + alone.filter(messages=alone["messages"][0]).height
    assert both.filter(prompt_id=shared)["messages"].n_unique() == 1
