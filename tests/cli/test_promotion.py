"""`rft promote`, `rft rollback` and `rft export` on the finished tiny campaign, of which round 1 is the champion."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient

from assets.checks import a_round_is_promoted
from rft_pipeline.campaign import load_campaign
from rft_pipeline.pipeline import export as exporting
from rft_pipeline.pipeline.outcomes import outcome, verdicts
from rft_pipeline.stages import round_alarms as watching
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.store import Home, RecordStore, champions
from tests.cli.small import Rft, assert_one_message
from tests.promoted import write_champion
from tests.runs import edit, run


def in_force() -> int:
    found = champions.champion(Home.find().root, "tiny")
    assert found is not None
    return found.round


def test_a_round_that_failed_is_refused_with_its_bound_and_by_how_much(finished_home: Path, rft: Rft) -> None:
    said = rft("promote", "tiny", "--round", "2")
    assert_one_message(said, "round 2 is not promoted over base", "the lower bound must be above 0", "too low")
    assert "It would replace round 1 (tiny/round_1/checkpoints/" in said.err
    assert in_force() == 1


def test_a_round_that_passed_and_is_worse_than_the_champion_of_the_same_report_needs_force(
    finished_copy: Path, rft: Rft
) -> None:
    home = Home.find()
    records = RecordStore(home.store)
    promotion, report = records.current("tiny/promotion"), records.current("tiny/round_2/eval_reports")
    assert promotion is not None
    assert report is not None
    decided = decision_of(promotion)
    for each in decided["rounds"]:
        each["passed"] = True
        each["bounds"] = [bound | {"passed": True} for bound in each["bounds"]]
    (promotion.folder / "promotion.json").write_text(json.dumps(decided), encoding="utf-8")
    path = report.path("eval_reports.parquet")
    rows = pl.read_parquet(path)
    best = pl.when(round=1).then(pl.lit(0.9)).when(round=2).then(pl.lit(0.2)).otherwise("reward")
    shaken = pl.col("prompt_id").rank("dense") / 1000 * pl.col("round")
    rows.with_columns((best + shaken).cast(rows.schema["reward"]).alias("reward")).write_parquet(path)
    assert_one_message(
        rft("promote", "tiny", "--round", "2"),
        "round 2 is not promoted over round 1 (tiny/round_1/checkpoints/",
        "its held-out reward is lower: -0.69",
        "rft promote tiny --round 2 --force",
    )
    assert in_force() == 1
    assert rft("promote", "tiny", "--round", "2", "--force", "--why", "shorter <b>").code == 0
    assert in_force() == 2
    assert rft("promote", "tiny", "--round", "1", "--force", "--why", "longer").code == 0


@pytest.mark.parametrize("options", [["--force"], ["--round", "2", "--force"], ["--force", "--why", "because"]])
def test_force_takes_a_round_and_a_reason(finished_home: Path, rft: Rft, options: list[str]) -> None:
    assert_one_message(rft("promote", "tiny", *options), "--round N", "--why")


def test_a_round_there_is_not_is_refused(finished_home: Path, rft: Rft) -> None:
    assert_one_message(rft("promote", "tiny", "--round", "3"), "tiny has rounds 1 to 2")


def test_forcing_a_round_is_kept_with_its_reason_and_rolled_back(finished_copy: Path, rft: Rft) -> None:
    said = rft("promote", "tiny", "--round", "2", "--force", "--why", "our agents like it better")
    assert said.code == 0
    assert "round 2 (tiny/round_2/checkpoints/" in said.out
    assert "by force: our agents like it better" in said.out
    assert "it replaces round 1 (tiny/round_1/checkpoints/" in said.out
    page = Home.find().reports / "tiny.promotion.html"
    assert "our agents like it better" in page.read_text(encoding="utf-8")
    assert in_force() == 2
    said = rft("rollback", "tiny")
    assert said.code == 0
    assert "is the champion again" in said.out
    assert in_force() == 1
    said = rft("rollback", "tiny")
    assert said.code == 0
    assert "there is no champion; base replaces round 1 (tiny/round_1/" in said.out
    assert "`rft promote tiny` promotes it again" in said.out
    assert_one_message(rft("rollback", "tiny"), "tiny has no champion")
    assert rft("promote", "tiny").code == 0
    assert in_force() == 1


def test_a_round_that_did_not_run_yet_was_never_compared(finished_copy: Path, rft: Rft) -> None:
    edit(finished_copy / "campaign.yaml", "rounds", 3)
    said = rft("promote", "tiny", "--round", "3")
    assert_one_message(said, "round 3 was never compared", "on rounds 1, 2", "`rft run tiny` runs all 3 rounds")


def test_a_campaign_that_never_ran_has_nothing_to_promote_or_to_go_back_from(tiny_campaign: Path, rft: Rft) -> None:
    for options in ([], ["--round", "1"], ["--round", "1", "--force", "--why", "because"]):
        said = rft("promote", "tiny", *options)
        assert_one_message(said, "tiny: no promotion was decided yet", "`rft run tiny` runs all 2 rounds and decides")
    assert_one_message(rft("rollback", "tiny"), "tiny has no champion")


def test_a_round_that_an_alarm_stopped_is_refused_for_that(
    finished_copy: Path, rft: Rft, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = pl.lit(20.0).alias("kl")
    monkeypatch.setattr(watching, "sequence_kl", lambda rows, base: rows.select("rollout_id", told))
    edit(finished_copy / "campaign.yaml", "alarms", {"resamples": 100})
    champions.path_of(Home.find().root, "tiny").unlink()
    edit(finished_copy / "campaign.yaml", "rounds", 1)
    run(finished_copy)
    said = rft("promote", "tiny", "--round", "1")
    assert_one_message(said, "alarms: stop; a stopped round cannot be promoted", "rft promote tiny --round 1 --force")
    assert_one_message(rft("promote", "tiny"), "no round is promoted over base", "--round N --force --why")


def test_a_round_with_the_champions_weights_is_no_better_than_it(finished_copy: Path, rft: Rft) -> None:
    edit(finished_copy / "campaign.yaml", "evaluation.resamples", 200)  # another report, held against round 1
    run(finished_copy)
    assert_one_message(rft("promote", "tiny", "--round", "1"), "round 1 has the weights of the champion")


def test_a_champion_that_a_new_decision_would_not_make_stays_and_the_report_says_so(
    finished_copy: Path, rft: Rft
) -> None:
    edit(finished_copy / "campaign.yaml", "promotion.margin", 0.5)
    run(finished_copy, ["promotion"])
    said = rft("report", "tiny")
    assert "no round is promoted over base" in said.out
    assert "round 1 stays the champion until a person changes it" in said.out
    assert in_force() == 1


def test_after_a_rollback_the_report_and_mlflow_do_not_say_that_the_round_is_promoted(
    finished_copy: Path, rft: Rft
) -> None:
    edit(finished_copy / "campaign.yaml", "evaluation.resamples", 200)
    run(finished_copy)  # another report than that of the champion
    write_champion("tiny/round_2/checkpoints")
    assert rft("rollback", "tiny", "--why", "no, it is not").code == 0
    home = Home.find()
    promotion = RecordStore(home.store).current("tiny/promotion")
    assert promotion is not None
    decided = decision_of(promotion)
    two = next(each for each in decided["rounds"] if each["round"] == 2)
    changed = decided | {"promoted": 2, "said": "round 2 is promoted over round 1"}  # as if it had passed
    (promotion.folder / "promotion.json").write_text(json.dumps(changed), encoding="utf-8")
    assert two["policy"] != promotion.payload["inputs"]["champion"]
    said = rft("report", "tiny")
    assert "round 2 is not the champion: a person rolled back from it (no, it is not)" in said.out
    again = run(finished_copy, ["promotion"])["promotion"]
    tags = MlflowClient(tracking_uri=home.mlflow_uri).get_run(again.mlflow_run_id).data.tags
    assert tags["rft.promoted"] == "none"
    assert "a person rolled back from it" in tags["rft.decision"]
    check = a_round_is_promoted(again, load_campaign(finished_copy))
    assert (check.passed, check.metadata["promoted"].value) == (False, "none")
    assert check.description == check.metadata["why"].value == f"{changed['said']}; {outcome(home, again).stays}"
    assert verdicts(home) == {"tiny": "nothing promoted"}
    assert in_force() == 1


def test_what_passed_is_promoted_without_force(finished_copy: Path, rft: Rft) -> None:
    champions.path_of(Home.find().root, "tiny").unlink()
    said = rft("promote", "tiny")
    assert said.code == 0
    assert in_force() == 1


def test_an_export_loads_in_transformers_as_it_is(finished_home: Path, tmp_path: Path, rft: Rft) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target = tmp_path / "model"
    assert rft("export", "tiny", str(target)).code == 0
    model = AutoModelForCausalLM.from_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(target)
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], return_tensors="pt", return_dict=True)
    assert model.generate(**asked, max_new_tokens=2).shape[0] == 1
    card = (target / "README.md").read_text(encoding="utf-8")
    for part in (
        "# tiny, round 1",
        "12 train prompts",
        "| polite |",
        "Change from base",
        "tiny/round_1/checkpoints/",
    ):
        assert part in card
    assert_one_message(rft("export", "tiny", str(target)), "is not an empty folder")


def test_an_export_that_is_killed_leaves_nothing_in_its_place_and_the_next_one_is_whole(
    finished_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, target = load_campaign(finished_home), tmp_path / "model"
    monkeypatch.setattr(Path, "rename", killed)
    monkeypatch.setattr(exporting.shutil, "rmtree", lambda *_, **__: None)  # who is killed tidies nothing up
    with pytest.raises(KeyboardInterrupt):
        exporting.export(campaign, Home.find(), None, target)
    assert not target.exists()
    left = [path.name for path in tmp_path.iterdir()]
    monkeypatch.undo()
    monkeypatch.setenv("RFT_HOME", str(finished_home.parent.parent / "home"))
    (tmp_path / left[0] / "half.safetensors").touch()
    target.mkdir()  # an empty folder is as good as none
    exporting.export(campaign, Home.find(), None, target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert "half.safetensors" not in {path.name for path in target.iterdir()}
    assert {"README.md", "model.safetensors", "tokenizer.json"} <= {path.name for path in target.iterdir()}


def killed(path: Path, target: Path) -> None:
    raise KeyboardInterrupt


def test_of_two_exports_to_one_folder_at_once_one_is_whole_and_the_other_is_refused(
    finished_home: Path, tmp_path: Path
) -> None:
    target = tmp_path / "both" / "model"
    command = [sys.executable, "-m", "rft_pipeline.cli", "export", "tiny", str(target)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    refused = said[[process.returncode for process in both].index(2)]
    assert "is not an empty folder; name a new or an empty one" in " ".join(refused.split())
    assert "Traceback" not in refused
    assert (target / "model.safetensors").is_file()


def test_an_exported_adapter_is_merged(tiny_campaign: Path, tmp_path: Path, rft: Rft) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.engines.weights import load_weights
    from rft_pipeline.pipeline.champion import checkpoint_of

    edit(tiny_campaign / "campaign.yaml", "training.weights", "lora")
    edit(tiny_campaign / "campaign.yaml", "training.lora.target_modules", ["q_proj", "v_proj"])
    edit(tiny_campaign / "campaign.yaml", "rounds", 1)
    run(tiny_campaign)
    target = tmp_path / "model"
    assert rft("export", "tiny", str(target), "--round", "1").code == 0
    assert not (target / "adapter_config.json").exists()
    checkpoint = checkpoint_of(load_campaign(tiny_campaign), Home.find(), 1).path("checkpoint")
    merged, exported = load_weights(checkpoint, "float32", "cpu"), AutoModelForCausalLM.from_pretrained(target)
    inputs = torch.tensor([[5, 6, 7]])
    assert torch.allclose(merged(inputs).logits, exported(inputs).logits, atol=1e-6)


def test_without_a_champion_nothing_is_exported(finished_copy: Path, tmp_path: Path, rft: Rft) -> None:
    champions.path_of(Home.find().root, "tiny").unlink()
    assert_one_message(rft("export", "tiny", str(tmp_path / "model")), "tiny has no champion", "--round N")
