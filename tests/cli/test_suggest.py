"""`rft rubric suggest`: wordings are chosen on half of the labels, and the other half decides."""

import statistics
from pathlib import Path
from typing import Any

import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.engines.settings import Server
from rft_pipeline.errors import Exit
from rft_pipeline.store import Home
from rft_pipeline.suggest import looks
from rft_pipeline.suggest.trial import WRITING_SECONDS, writer_of
from tests.cli.small import Rft, assert_one_message, printed
from tests.engines.serving import Serving
from tests.runs import edit
from tests.suggest.labelled import POLITE, PROMPTS, RUDE, nats, replies, rubric_of, write_anchors, write_served

BAD = "Is it a reply?"
GOOD = "Does the reply come in time?"


def suggested(rft: Rft, *more: str) -> Any:
    """What the command says as JSON, with its exit code."""
    said = rft("rubric", "suggest", "tiny", "--criterion", "polite", "--json", *more)
    return {**printed("rubric_suggest", said), "code": said.code}


def candidates(folder: Path, *personas: tuple[str, str]) -> str:
    path = folder / "candidates.yaml"
    judges = [{"protocol": "contrast", "positive": positive, "negative": negative} for positive, negative in personas]
    path.write_text(yaml.safe_dump({"polite": judges}), encoding="utf-8")
    return str(path)


def label_by(folder: Path, engine: Any, *, inverted: bool) -> None:
    """Label as the present personas rank the replies, or the other way round."""
    measured = nats(folder, engine)
    middle = statistics.median(measured)
    write_anchors(folder, "polite", [int((each > middle) != inverted) for each in measured])


def test_personas_that_rank_as_people_do_are_suggested_and_nothing_else_changes(
    tiny_campaign: Path, tiny_engine: Any, rft: Rft
) -> None:
    label_by(tiny_campaign, tiny_engine, inverted=True)
    text = "# how we reply\n" + (tiny_campaign / "rubric.yaml").read_text(encoding="utf-8")
    (tiny_campaign / "rubric.yaml").write_text(text, encoding="utf-8")
    found = suggested(rft, "--candidates", candidates(tiny_campaign, (POLITE, RUDE + "!"), (RUDE, POLITE)))
    assert (found["code"], found["better"]) == (Exit.OK, True)
    assert found["present"]["auc"] == 0.0
    decided = found["held_out"]
    assert (decided["before"]["auc"]["mean"], decided["after"]["auc"]["mean"]) == (0.0, 1.0)
    assert decided["difference"]["auc"] == {"mean": 1.0, "lower95": 1.0, "upper95": 1.0}
    assert (decided["decides"], decided["earlier_looks"]) == ("auc", 0)
    assert decided["after"]["cohen_kappa"]["mean"] > 0.5 > decided["before"]["cohen_kappa"]["mean"]
    file = tiny_campaign / "rubric.suggested.yaml"
    assert found["file"] == str(file)
    written = file.read_text(encoding="utf-8")
    assert written.startswith("# how we reply\n")
    assert "# Suggested by `rft rubric suggest`: AUC 0.00 → 1.00 on " in written
    old, new = rubric_of(tiny_campaign / "rubric.yaml"), rubric_of(file)
    assert new["criteria"][1:] == old["criteria"][1:]
    judge = new["criteria"][0]["judge"]
    assert (judge["positive"], judge["negative"]) == (RUDE, POLITE)
    assert judge["squash"] == found["suggested"]["squash"] != old["criteria"][0]["judge"]["squash"]
    assert (tiny_campaign / "rubric.yaml").read_text(encoding="utf-8") == text
    assert not list((Home.find().store / "tiny").glob("**/record.json"))


def test_a_wording_that_is_not_better_writes_no_file_and_leaves_an_earlier_one(
    tiny_campaign: Path, tiny_engine: Any, rft: Rft
) -> None:
    middle = statistics.median(nats(tiny_campaign, tiny_engine))
    edit(tiny_campaign / "rubric.yaml", "criteria.0.judge.squash", {"offset": middle, "scale": 1e-4})
    label_by(tiny_campaign, tiny_engine, inverted=False)
    earlier = tiny_campaign / "rubric.suggested.yaml"
    earlier.write_text("# earlier\n", encoding="utf-8")
    said = rft("rubric", "suggest", "tiny", "--criterion", "polite")
    assert said.code == Exit.REFUSED
    assert "with another squash it is not shown to be better on labels that did not choose it" in said.out
    assert "No file was written; " in said.out
    assert "rubric.suggested.yaml is from an earlier suggestion and stays as it is" in said.out
    assert earlier.read_text(encoding="utf-8") == "# earlier\n"


def test_the_candidates_without_a_model_are_personas_and_words_from_the_description(
    tiny_campaign: Path, tiny_engine: Any, rft: Rft
) -> None:
    edit(tiny_campaign / "rubric.yaml", "criteria.0.description", "Kind in {words}.")
    label_by(tiny_campaign, tiny_engine, inverted=True)
    found = suggested(rft)
    judges = [each["judge"] for each in found["candidates"]]
    told = [each for each in judges if each.get("positive") == "Your replies fit this description: Kind in {{words}}."]
    assert [each["negative"] for each in told] == ["Your replies do not fit this description: Kind in {{words}}."]
    assert {each["protocol"] for each in judges} == {"contrast", "cloze"}
    assert all(each["auc"] is not None or "choose a word of one token" in each["note"] for each in found["candidates"])


def test_each_later_suggestion_says_how_often_this_half_was_looked_at(
    tiny_campaign: Path, tiny_engine: Any, rft: Rft
) -> None:
    label_by(tiny_campaign, tiny_engine, inverted=True)
    given = ("--candidates", candidates(tiny_campaign, (RUDE, POLITE)))
    assert [suggested(rft, *given)["held_out"]["earlier_looks"] for _ in range(2)] == [0, 1]
    said = rft("rubric", "suggest", "tiny", "--criterion", "polite", *given)
    assert "suggestions looked at this half 2 times before" in said.err
    assert len(looks.read(Home.find().root, "tiny")["polite"]) == 3


def test_too_few_labels_are_refused_before_any_model_is_loaded(tiny_campaign: Path, rft: Rft) -> None:
    write_anchors(tiny_campaign, "polite", [1] * (2 * PROMPTS))
    said = rft("rubric", "suggest", "tiny", "--criterion", "polite")
    assert said.code == Exit.REFUSED
    assert_one_message(
        said,
        "polite: too few labels: the half that chooses has 20 good and 0 bad labels of 10 prompts",
        "each needs 5 good and 5 bad labels of 5 prompts",
        "rft labels export tiny",
    )
    edit(tiny_campaign / "rubric.yaml", "criteria.1.description", "About the question.")
    said = rft("rubric", "suggest", "tiny", "--criterion", "relevant")
    assert_one_message(said, "relevant: nothing is labelled")


def test_a_criterion_without_a_wording_or_a_name_is_named(tiny_campaign: Path, rft: Rft) -> None:
    said = rft("rubric", "suggest", "tiny", "--criterion", "says_enough")
    assert_one_message(said, "says_enough: ", "has no wording to suggest")
    said = rft("rubric", "suggest", "tiny", "--criterion", "polit")
    assert_one_message(said, "no such criterion (did you mean 'polite'?)")
    assert said.code == Exit.BAD_INPUT


def test_a_served_model_writes_questions_and_the_held_out_half_decides(
    tiny_campaign: Path, server: Serving, rft: Rft
) -> None:
    write_served(tiny_campaign, server, BAD)
    server.plan(needs=GOOD, writes=("Is it {secret}?", GOOD))
    found = suggested(rft, "--model", "strong", "--n", "4")
    assert (found["code"], found["better"]) == (Exit.OK, True)
    assert (found["present"]["auc"], found["suggested"]["question"]) == (0.5, GOOD)
    assert found["held_out"]["difference"]["auc"]["lower95"] > 0
    assert found["held_out"]["after"]["agreement"]["mean"] == 1.0
    assert any("shows {secret}, which the present text does not show" in each for each in found["unusable"])
    new = load_campaign(tiny_campaign).rubric.criteria[0]
    suggestion = rubric_of(tiny_campaign / "rubric.suggested.yaml")["criteria"][0]
    assert suggestion["judge"] == {"protocol": "binary", "by": "strong", "question": GOOD}
    assert suggestion["description"] == new.judge.asks == BAD  # so that labels keep the question that people were asked


def test_what_a_writer_is_shown_are_replies_of_the_half_that_chooses(
    tiny_campaign: Path, server: Serving, rft: Rft
) -> None:
    write_served(tiny_campaign, server, BAD)
    server.plan(needs=GOOD, writes=(BAD,))
    found = suggested(rft, "--model", "served:judge", "--server", server.url, "--n", "2")
    assert (found["code"], found["better"], found["held_out"]) == (Exit.REFUSED, False, None)
    asked = [body["messages"][-1]["content"] for body in server.seen()["bodies"]]
    (first, *_) = [text for text in asked if "Write for the judge" in text]
    shown = {number for number in range(PROMPTS) if f" number {number}?" in first}
    assert shown
    assert all(number % 3 == 0 for number in shown)  # people say no and the judge says yes
    held_out = looks.read(Home.find().root, "tiny")
    assert held_out == {}
    assert sum(f" number {number}?" in prompt for number in shown for prompt, _ in replies()) == 2 * len(shown)


def test_a_writer_of_nothing_that_can_be_used_is_said_to_be_one(tiny_campaign: Path, server: Serving, rft: Rft) -> None:
    write_served(tiny_campaign, server, BAD)
    server.plan(needs=GOOD, writes=("Is it {secret}?",))
    said = rft("rubric", "suggest", "tiny", "--criterion", "polite", "--model", "strong", "--n", "2")
    assert said.code == Exit.REFUSED
    assert said.err.count("a written wording is left out: question shows {secret}, which the present text does") == 2
    assert "none of the 2 wordings that the model wrote can be used; name another --model" in said.err
    assert "No candidate ranks the replies better than the present wording." in said.out


def test_a_server_that_writes_has_longer_than_one_that_judges(tiny_campaign: Path) -> None:
    writer = writer_of(load_campaign(tiny_campaign), "served:judge", "http://127.0.0.1:9/v1", None)
    assert writer.model is not None
    assert writer.model.server is not None
    assert writer.model.server.timeout_seconds == WRITING_SECONDS > Server(url="http://x/v1").timeout_seconds


def test_a_question_needs_somebody_who_writes(tiny_campaign: Path, server: Serving, rft: Rft) -> None:
    write_served(tiny_campaign, server, BAD)
    said = rft("rubric", "suggest", "tiny", "--criterion", "polite")
    assert_one_message(said, "polite: binary asks in words: name who writes other questions (--model")
    said = rft("rubric", "suggest", "tiny", "--criterion", "polite", "--model", "served:judge")
    assert_one_message(said, "model 'served:judge' needs a `server`", "Give --server URL with served:NAME")
