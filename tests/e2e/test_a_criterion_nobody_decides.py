"""The embedded judge is asked something it cannot tell: the audit says so, and takes the criterion's weight away."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from rft_pipeline import models
from rft_pipeline.store import Home
from tests.e2e.test_support_reply import SHIPPED, rft

pytestmark = pytest.mark.e2e

CONCRETE = {
    "name": "concrete",
    "description": "Names a concrete next step.",
    "judge": {
        "protocol": "contrast",
        "positive": "You are a support agent who says exactly what happens next.",
        "negative": "You are a support agent who stays vague.",
    },
}
VAGUE = {4, 8, 10, 12, 14, 17, 18, 20, 24, 28, 29, 30, 39, 43, 45, 48, 49, 52, 54, 58}
"""Of the first 60 shipped anchors, those that name no next step; of number 36 nobody can say."""
UNDECIDED = {36}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The shipped campaign with a further criterion, for which its first 60 anchors are labelled, and no probes."""
    fetched = models.resolve("embedded", Home.find().models, SHIPPED).folder
    (tmp_path / ".rft" / "models").mkdir(parents=True)
    (tmp_path / ".rft" / "models" / models.EMBEDDED_FOLDER).symlink_to(fetched)
    folder = tmp_path / "data" / "support_reply"
    shutil.copytree(SHIPPED, folder)
    settings = yaml.safe_load((folder / "campaign.yaml").read_text(encoding="utf-8"))
    settings["audit"] = {"probed_anchors": 0}
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    rubric = yaml.safe_load((folder / "rubric.yaml").read_text(encoding="utf-8"))
    polite = next(each for each in rubric["criteria"] if each["name"] == "polite")
    (folder / "rubric.yaml").write_text(yaml.safe_dump({"criteria": [polite, CONCRETE]}), encoding="utf-8")
    lines = (folder / "anchors.jsonl").read_text(encoding="utf-8").splitlines()[:60]
    anchors = [json.loads(line) for line in lines]
    for number, anchor in enumerate(anchors, start=1):
        anchor["labels"] = {"polite": anchor["labels"]["polite"], "concrete": int(number not in VAGUE)}
        if number in UNDECIDED:
            anchor["labels"]["concrete"] = None
    text = "".join(json.dumps(anchor) + "\n" for anchor in anchors)
    (folder / "anchors.jsonl").write_text(text, encoding="utf-8")
    return Home(root=tmp_path / ".rft", data=tmp_path / "data")


def test_it_is_demoted_with_the_reason_and_the_other_keeps_weight(home: Home) -> None:
    done = rft(home, "audit", "support_reply", "--json")
    assert done.returncode == 0, done.stderr
    found = {each["criterion"]: each for each in json.loads(done.stdout)["criteria"]}
    assert found["polite"]["weight"] > 0
    concrete = found["concrete"]
    assert (concrete["power"], concrete["weight"]) == ("monitor", 0.0)
    assert (concrete["good"], concrete["bad"]) == (39, 20)
    assert re.match(r"J -?0\.\d\d, .* on 39 good and 20 bad replies to 12 prompts; (chance|weak): ", concrete["reason"])
