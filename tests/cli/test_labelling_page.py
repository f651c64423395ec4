"""A labelling session in MLflow's page, from the export to the audit."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.labels.table import labels_of
from rft_pipeline.store import Home
from tests.browser import browser, needs_chromium, until
from tests.cli.small import Rft
from tests.pipeline.test_alarms import ANCHORS
from tests.runs import edit

QUESTIONS = ["polite", "relevant", "says_enough", "has_an_e"]
SHOWN = "document.querySelectorAll('input[type=radio]').length == 8 && location.hash.includes('selectedItemId')"
ITEM = "new URLSearchParams(location.hash.split('?')[1]).get('selectedItemId')"
TEXT = "document.body.innerText"
ANSWER = "document.querySelectorAll('input[type=radio]')[{place}].click()"
CAN_SUBMIT = "[...document.querySelectorAll('button')].some(each => each.innerText == 'Submit' && !each.disabled)"
SUBMIT = "[...document.querySelectorAll('button')].find(each => each.innerText == 'Submit').click()"


@pytest.fixture
def mlflow(finished_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow's server of a finished campaign, to which links lead."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = Home.find()
    at = ["--backend-store-uri", home.mlflow_uri, "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *at, "--default-artifact-root", home.mlflow_artifacts]
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    monkeypatch.setenv("RFT_MLFLOW_URL", f"http://127.0.0.1:{port}")
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(URLError), urlopen(f"http://127.0.0.1:{port}/version") as answer:
            return bool(answer.status == 200)
        return False

    try:
        until(answers)
        yield
    finally:
        server.terminate()
        server.wait()


@pytest.mark.waits
@needs_chromium
@pytest.mark.usefixtures("mlflow")
def test_what_a_person_answers_on_the_page_is_imported_and_audited(
    tmp_path: Path, finished_copy: Path, rft: Rft
) -> None:
    exported = rft("labels", "export", "tiny", "--n", "2", "--to", "mlflow", "--annotator", "Ines")
    (link,) = re.findall(r"Ines: (http\S+)", exported.out)
    with browser(tmp_path / "profile") as page:
        page.open(link)
        for number in range(2):
            page.until(SHOWN)
            item, text = page.value(ITEM), page.value(TEXT)
            places = [text.index(f"\n{question}\n") for question in QUESTIONS]
            assert places == sorted(places)
            assert not any(word in text for word in ("reward", "round 1", "round 2", "tiny_model"))
            for place in (0, 3):  # polite, not relevant; the others stay open
                page.value(ANSWER.format(place=place))
            page.until(CAN_SUBMIT)
            page.value(SUBMIT)
            page.until(f"{ITEM} != '{item}'" if number == 0 else f"!{ITEM}")
    said = rft("labels", "import", "tiny", "--from", "mlflow")
    assert said.out.startswith("4 new labels, 0 changed, 0 unchanged by Ines; 0 rows without a label, 0 left out")
    labels = labels_of(load_campaign(Home.find().campaign_folder("tiny")), Home.find().store)
    assert labels["rollout_id"].n_unique() == 2
    assert set(labels.select("criterion", "value", "annotator").iter_rows()) == {
        ("polite", 1.0, "Ines"),
        ("relevant", 0.0, "Ines"),
    }

    lines = "".join(json.dumps(anchor) + "\n" for anchor in ANCHORS)
    (finished_copy / "anchors.jsonl").write_text(lines, encoding="utf-8")
    edit(finished_copy / "campaign.yaml", "anchors", "anchors.jsonl")
    audited = json.loads(rft("audit", "tiny", "--json").out)["criteria"]
    of_people = {each["criterion"]: each["from_people"] for each in audited}
    counted = {name: found["measured"] + found["fitted"] for name, found in of_people.items()}
    assert counted == {"polite": 2, "relevant": 2}
