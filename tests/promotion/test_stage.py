"""Promotion as a stage of the finished tiny campaign, of which round 1 beats base and round 2 does not."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from rft_pipeline import models
from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import GateError, ModelError, StoreError, TrackingError
from rft_pipeline.pipeline.champion import promote, roll_back, show_champions
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.promotion import looks
from rft_pipeline.report.published import publish
from rft_pipeline.report.templates import signed
from rft_pipeline.stages.graph import node, payload
from rft_pipeline.store import Home, champions
from tests.promoted import write_champion
from tests.promotion.small import champion, record, to_run
from tests.runs import edit, made, run
from tests.upkeep.small import collected, counts, verified


def aliases(*names: str) -> dict[str, str]:
    """The versions with these aliases, by default who is the champion and who was it before."""
    client = MlflowClient(tracking_uri=Home.find().mlflow_uri)
    found = client.get_registered_model("tiny").aliases
    return {name: str(found[name]) for name in names or ("champion", "previous") if name in found}


def test_the_round_with_the_best_bound_is_the_champion_and_the_last_is_not(finished_home: Path) -> None:
    checkpoint = record("tiny/round_1/checkpoints")
    assert (champion().round, champion().record) == (1, checkpoint.address)
    assert champion().content_hash == checkpoint.content_hash
    assert champion().why.startswith("round 1 is promoted over base: reward +")
    assert record("tiny/promotion").metrics["promoted_round"] == 1


def test_alarms_without_a_held_out_judge_do_not_stop_the_promotion_of_a_better_round(finished_copy: Path) -> None:
    (Home.find().root / "champions" / "tiny.json").unlink()
    edit(finished_copy / "campaign.yaml", "alarms", {})
    promotion = run(finished_copy)["promotion"]
    assert promotion.metrics["promoted_round"] == 1
    assert "alarms' judge" not in promotion.path("promotion.json").read_text(encoding="utf-8")


def test_alarms_that_are_not_configured_are_not_watched(finished_home: Path) -> None:
    decided = json.loads(record("tiny/promotion").path("promotion.json").read_text(encoding="utf-8"))
    assert [each["alarm"] for each in decided["rounds"]] == ["not watched", "not watched"]
    page = record("tiny/promotion").path("promotion.html").read_text(encoding="utf-8")
    assert page.count('<span class="chip rule">not watched</span>') == 2


def test_a_promotion_leaves_nothing_to_run(finished_home: Path) -> None:
    assert to_run(finished_home) == []


def test_the_registry_has_a_version_with_its_card_and_the_stored_weights(finished_home: Path) -> None:
    version = MlflowClient(tracking_uri=Home.find().mlflow_uri).get_model_version_by_alias("tiny", "champion")
    assert version.source == (record("tiny/round_1/checkpoints").folder / "checkpoint").as_uri()
    assert version.description.startswith("Round 1: promoted over base: reward +")
    assert "\n\n# tiny, round 1\n" in version.description
    assert "## Limits" in version.description
    assert aliases() == {"champion": "1"}


def test_the_page_is_in_the_record_and_in_the_folder_of_reports(finished_home: Path) -> None:
    made = record("tiny/promotion")
    page = made.path("promotion.html").read_text(encoding="utf-8")
    published = (Home.find().reports / "tiny.promotion.html").read_text(encoding="utf-8")
    without_links = re.sub('(?<=<nav class="pages">).*?(?=</nav>)', "", published)
    assert page == re.sub("(?<=<!-- champions -->).*?(?=<!-- /champions -->)", "", without_links, flags=re.DOTALL)
    assert record("tiny/round_2/eval_reports").address in page
    for bound in ("reward_lower_round_1", "reward_lower_round_2"):
        assert signed(made.metrics[bound]) in page


def test_no_other_node_depends_on_the_promotion(finished_home: Path) -> None:
    campaign, home = load_campaign(finished_home), Home.find()
    sources = source_hashes(campaign, home, fetch=False)
    before = {name: content for name, content in sources.items() if not name.startswith("champion")}
    assert before != sources
    for name in ("policy", "round_2/rollouts", "round_2/checkpoints", "round_2/eval_reports"):
        here = node(campaign, name)
        upstream = {role: record(f"tiny/{above}") for role, above in here.upstream.items()}
        assert payload(campaign, here, upstream, sources) == payload(campaign, here, upstream, before)
        assert "promotion" not in str(payload(campaign, here, upstream, before))


def test_a_wider_margin_decides_again_and_keeps_the_champion(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "promotion.margin", 0.5)
    assert to_run(finished_copy) == ["tiny/promotion"]
    again = run(finished_copy, ["promotion"])["promotion"]
    assert again.metrics["promoted_round"] == 0
    assert champion().round == 1


def test_a_forced_promotion_and_a_rollback_stay_when_the_campaign_runs_again(finished_copy: Path) -> None:
    campaign, home = load_campaign(finished_copy), Home.find()
    promote(campaign, home, 2, force=True, why="reads better")
    assert (champion().round, champion().forced) == (2, True)
    assert aliases() == {"champion": "2", "previous": "1"}
    assert aliases("round-1", "round-2") == {"round-1": "1", "round-2": "2"}
    assert made(run(finished_copy)) == []
    assert champion().round == 2
    roll_back(campaign, home, "no, it does not")
    assert aliases() == {"champion": "1"}
    assert made(run(finished_copy)) == []
    assert champion().round == 1


def test_a_forced_champion_stays_when_the_decision_is_made_again(finished_copy: Path) -> None:
    campaign, home = load_campaign(finished_copy), Home.find()
    promote(campaign, home, 2, force=True, why="reads better")
    edit(finished_copy / "campaign.yaml", "promotion.margin", 0.001)
    again = run(finished_copy, ["promotion"])["promotion"]
    assert (again.cached, again.metrics["promoted_round"]) == (False, 1)
    assert [each.round for each in champions.history(home.root, "tiny")] == [1, 2]
    with pytest.raises(GateError, match=r"round 1 is not promoted over round 2 .* a person promoted it by force"):
        promote(campaign, home, 1, force=False, why="")
    roll_back(campaign, home, "no, it does not")
    assert champion().round == 1


def test_the_first_champion_can_be_rolled_back_to_base_and_promoted_again(finished_copy: Path) -> None:
    campaign, home = load_campaign(finished_copy), Home.find()
    first = champion()
    left, now = roll_back(campaign, home, "base was kinder")
    assert (left.record, now) == (first.record, None)
    assert champions.champion(home.root, "tiny") is None
    assert aliases() == {}
    assert to_run(finished_copy) == []
    assert made(run(finished_copy)) == []
    edit(finished_copy / "campaign.yaml", "promotion.margin", 0.001)
    again = run(finished_copy, ["promotion"])["promotion"]
    assert (again.cached, again.metrics["promoted_round"]) == (False, 1)
    assert champions.champion(home.root, "tiny") is None
    assert verified().findings == []
    assert counts(collected(yes=False)).keys() == {"unneeded records"}  # the earlier promotion
    with pytest.raises(ModelError, match="no champion, because its last one was rolled back; `rft promote tiny`"):
        models.identify("champion:tiny", home.models, finished_copy)
    promote(campaign, home, None, force=False, why="")
    assert champion().record == first.record
    assert aliases() == {"champion": "1"}


def test_a_rollback_to_weights_that_are_gone_is_refused(finished_copy: Path) -> None:
    campaign, home = load_campaign(finished_copy), Home.find()
    first = champion()
    promote(campaign, home, 2, force=True, why="reads better")
    shutil.rmtree(home.store / first.record)
    with pytest.raises(StoreError, match=rf"the previous champion, round 1, is gone: record {first.record}"):
        roll_back(campaign, home, "no, it does not")
    assert champion().round == 2
    gone = [each for each in verified().findings if each.file == "tiny.json"]
    assert [(each.level, each.what) for each in gone] == [("warning", f"names {first.record}, which does not exist")]


def test_rounds_of_an_earlier_report_are_compared_with_the_current_champion(finished_copy: Path) -> None:
    home, first = Home.find(), record("tiny/promotion")
    edit(finished_copy / "campaign.yaml", "evaluation.resamples", 200)  # another report, on which round 2 is promoted
    run(finished_copy)
    second = write_champion("tiny/round_2/checkpoints")
    edit(finished_copy / "campaign.yaml", "evaluation.resamples", 100)
    edit(finished_copy / "campaign.yaml", "promotion.margin", 0.5)
    again = run(finished_copy)["promotion"]
    assert again.payload["inputs"]["eval_reports"] == first.payload["inputs"]["eval_reports"]
    assert again.payload["inputs"]["champion"] == champion().content_hash
    assert [each.round for each in champions.history(home.root, "tiny")] == [1, 2]
    assert champion().record == second


def test_a_run_killed_before_the_champion_changed_is_completed_by_the_next(finished_copy: Path) -> None:
    path = champions.path_of(Home.find().root, "tiny")
    path.unlink()
    assert made(run(finished_copy)) == []
    assert champion().round == 1
    assert aliases() == {"champion": "1"}


def test_a_registry_that_lost_versions_is_filled_again(finished_copy: Path) -> None:
    campaign, home = load_campaign(finished_copy), Home.find()
    promote(campaign, home, 2, force=True, why="reads better")
    client = MlflowClient(tracking_uri=home.mlflow_uri)
    client.delete_model_version("tiny", "1")
    assert aliases() == {"champion": "2"}
    roll_back(campaign, home, "no, it does not")
    assert champion().round == 1
    assert aliases() == {"champion": "3"}
    version = client.get_model_version("tiny", "3")
    assert version.tags["rft.record"] == champion().record
    assert version.description.startswith("Round 1: promoted over base: reward +")
    assert aliases("round-1", "round-2") == {"round-1": "3", "round-2": "2"}
    client.delete_registered_model("tiny")
    assert made(run(finished_copy, ["promotion"])) == []
    assert aliases() == {"champion": "1"}


def test_a_lost_mlflow_database_stops_no_promotion(finished_copy: Path) -> None:
    home = Home.find()
    for path in home.root.glob("mlflow.db*"):
        path.unlink()
    promote(load_campaign(finished_copy), home, 2, force=True, why="reads better")
    assert champion().round == 2
    assert sorted(aliases()) == ["champion", "previous"]


def test_a_process_killed_before_the_registry_changed_is_completed_by_the_next(finished_copy: Path) -> None:
    write_champion("tiny/round_2/checkpoints")  # writes the file alone
    assert aliases() == {"champion": "1"}
    run(finished_copy, ["promotion"])
    assert aliases() == {"champion": "2", "previous": "1"}


def test_a_registry_that_cannot_be_reached_stops_no_rollback_and_is_reported(
    finished_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, home = load_campaign(finished_copy), Home.find()
    promote(campaign, home, 2, force=True, why="reads better")

    def unreachable(*_: object, **__: object) -> None:
        raise MlflowException("the server is away")

    monkeypatch.setattr(MlflowClient, "search_registered_models", unreachable)
    with pytest.raises(TrackingError, match=r"is saved, but .* could not be updated: the server is away"):
        roll_back(campaign, home, "no, it does not")
    assert champion().round == 1


def test_a_version_promoted_again_names_the_new_reason(finished_copy: Path) -> None:
    promote(load_campaign(finished_copy), Home.find(), 1, force=True, why="kinder on the phone")
    version = MlflowClient(tracking_uri=Home.find().mlflow_uri).get_model_version_by_alias("tiny", "champion")
    assert (version.version, version.tags["rft.forced"]) == (1, "true")
    assert "kinder on the phone" in version.description


def test_decisions_on_the_same_held_out_prompts_share_one_error_whatever_is_run_again(finished_copy: Path) -> None:
    """Each other decision is the next look; one made again, also after an edit was taken back, is the same look."""
    home, first = Home.find(), record("tiny/promotion")
    decided = json.loads(first.path("promotion.json").read_text(encoding="utf-8"))
    assert (first.payload["inputs"]["look"], decided["look"]) == ("1", 1)
    assert decided["level"] == pytest.approx(0.45 / 2 / len(decided["rounds"]))
    edit(finished_copy / "campaign.yaml", "promotion.margin", 0.001)
    second = run(finished_copy, ["promotion"])["promotion"]
    assert second.metrics["look"] == 2
    assert second.metrics["level"] == pytest.approx(0.45 / 6 / len(decided["rounds"]))
    assert "decision 2 on these held-out prompts" in second.path("promotion.html").read_text(encoding="utf-8")
    edit(finished_copy / "campaign.yaml", "promotion.margin", 0.0)
    assert run(finished_copy, ["promotion"])["promotion"].address == first.address
    (made_on_them,) = looks.read(home.root, "tiny").values()
    assert len(made_on_them) == 2
    assert to_run(finished_copy) == []


def test_a_decision_killed_before_it_was_counted_is_counted_by_the_next_run(finished_copy: Path) -> None:
    home = Home.find()
    before = looks.read(home.root, "tiny")
    looks.path_of(home.root, "tiny").unlink()
    assert made(run(finished_copy)) == []
    assert looks.read(home.root, "tiny") == before


def test_rft_verify_names_a_file_of_looks_that_cannot_be_read(finished_copy: Path) -> None:
    looks.path_of(Home.find().root, "tiny").write_text("{", encoding="utf-8")
    (found,) = [each for each in verified().findings if each.level == "error"]
    assert (Path(found.folder).name, found.file) == ("looks", "tiny.json")


def test_the_pages_of_a_finished_campaign_link_to_one_another_and_are_in_the_index(finished_home: Path) -> None:
    folder = Home.find().reports
    pages = ["tiny.html", "tiny.rounds.html", "tiny.promotion.html"]
    for page in pages:
        found = re.findall(r'href="([^"]+)"', (folder / page).read_text(encoding="utf-8"))
        assert found == ["index.html", *pages, *(["tiny.promotion.html"] if page == "tiny.html" else [])]
        assert all((folder / each).is_file() for each in found)
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'href="([^"]+)"', index) == pages
    assert f"round 1<br><code>{record('tiny/round_1/checkpoints').fingerprint}</code>" in index


def decision_on_the_report() -> str:
    """What the head of the published report says of the promotion; its mark, then the text."""
    page = (Home.find().reports / "tiny.html").read_text(encoding="utf-8")
    head = page[page.index("<!-- decision -->") : page.index("<!-- /decision -->")]
    return " ".join(re.sub("<[^>]+>", " ", head).split())


def test_the_head_of_the_report_says_what_was_decided_on_it(finished_copy: Path) -> None:
    campaign, home = load_campaign(finished_copy), Home.find()
    assert decision_on_the_report() == (
        "promoted Round 1 is the champion: it passes every bound against base. All bounds"
    )
    promote(campaign, home, 2, force=True, why="reads better")
    assert "round 2 stays the champion until a person changes it" in decision_on_the_report().casefold()
    roll_back(campaign, home, "worse")
    assert decision_on_the_report().startswith("promoted ")
    roll_back(campaign, home, "too long")
    said = decision_on_the_report()
    assert said.startswith(
        "not promoted Round 1 passes every bound against base. Round 1 is not the champion: a person"
    )
    own = record("tiny/round_2/eval_reports").path("report.html").read_text(encoding="utf-8")
    assert "<!-- decision --><!-- /decision -->" in own
    other = record("tiny/round_1/eval_reports").path("report.json").read_text(encoding="utf-8")
    publish(home.reports, "tiny", {".html": own, ".json": other})
    show_champions(home, "tiny")
    assert decision_on_the_report() == "", "the decision was on another report"


def test_a_refusal_is_said_at_the_head_of_the_report(finished_copy: Path) -> None:
    (Home.find().root / "champions" / "tiny.json").unlink()
    edit(finished_copy / "campaign.yaml", "promotion", {"min_prompts": 1000})
    run(finished_copy)
    said = decision_on_the_report()
    assert said.startswith("not promoted No round is promoted over base. Round 1: held-out prompts: ")
    assert "promotion.min_prompts needs 1000" in said


def test_the_page_of_rounds_has_every_reply_of_every_round(finished_home: Path) -> None:
    page = record("tiny/round_2/eval_reports").path("rounds.html").read_text(encoding="utf-8")
    held_out, second, first = (
        json.loads(found) for found in re.findall(r'<script type="application/json" id="\S+">(.*?)</script>', page)
    )
    assert (first["title"], second["title"]) == ("Training, round 1", "Training, round 2")
    for view, node_name in ((first, "round_1/reward_batches"), (second, "round_2/reward_batches")):
        batch = pl.read_parquet(record(f"tiny/{node_name}").path("reward_batches.parquet"))
        shown = {(prompt[0], reply[1], reply[2]) for prompt in view["prompts"] for reply in prompt[2]}
        rewards = batch["reward"].round(4)
        assert shown == set(zip(batch["prompt_id"], batch["completion"], rewards, strict=True))
    rows = pl.read_parquet(record("tiny/round_2/eval_reports").path("eval_reports.parquet"))
    assert sum(len(prompt[2]) for prompt in held_out["prompts"]) == rows.height
    prompts = pl.read_parquet(record("tiny/prompts").path("prompts.parquet"))
    ids = dict(prompts.select("prompt_id", "id").iter_rows())
    assert all(prompt[3] == ids[prompt[0]] for view in (held_out, second) for prompt in view["prompts"])
    assert {reply[0] for prompt in held_out["prompts"] for reply in prompt[2]} == {"base", "round 1", "round 2"}
