"""The alarms on fixed phrases and copied prompts."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from rft_pipeline.alarms.copying import (
    begins_with_prompt,
    common_words,
    copied_from,
    copying,
    extended,
    is_keyword_list,
)
from rft_pipeline.alarms.findings import Finding, Level
from rft_pipeline.alarms.replies import Replies
from rft_pipeline.alarms.watch import replies_of
from rft_pipeline.campaign import Alarms
from rft_pipeline.evaluation.compare import RoundRows

HOW = Alarms(resamples=200)
SYSTEM = "You are a friendly agent of a shop for lamps."
MAGIC = "Thank you for reaching out!"


def said(
    round_: int, texts: list[str], held_out: float | None = 0.5, system: str = SYSTEM, samples: int = 1
) -> Replies:
    """Replies to prompts "My parcel n did not arrive.", `samples` to each."""
    rows = pl.DataFrame(
        {
            "prompt_id": [f"p{i // samples}" for i in range(len(texts))],
            "sample_index": [i % samples for i in range(len(texts))],
            "completion": texts,
            "length": [len(text.split()) for text in texts],
            "reward": [0.5] * len(texts),
            "held_out": pl.Series([held_out] * len(texts), dtype=pl.Float64),
            "system": [system] * len(texts),
            "turns": [[f"My parcel {i // samples} did not arrive."] for i in range(len(texts))],
        }
    )
    return Replies(round_, rows)


def plain(count: int) -> list[str]:
    """Replies that have nothing in common."""
    return [" ".join(f"w{i}x{j}" for j in range(8)) for i in range(count)]


def with_magic(count: int, often: int) -> list[str]:
    return [f"{text} {MAGIC}" if i < often else text for i, text in enumerate(plain(count))]


def found(now: Replies, base: Replies, settings: Alarms = HOW) -> dict[str, Finding]:
    return {each.cause: each for each in copying(now, base, settings, 0)}


BASE = said(0, plain(20))


def test_sentences_call_base_by_its_name() -> None:
    start = Replies(0, BASE.rows, called="warm start")
    for finding in found(said(1, with_magic(20, 16)), start).values():
        assert "at the warm start" in finding.sentence
        assert "since the warm start;" in finding.sentence
        assert "base" not in finding.sentence


def test_a_phrase_that_many_replies_share_is_named_with_its_shares_and_three_replies() -> None:
    fixed = found(said(1, with_magic(20, 16)), said(0, with_magic(20, 1)))["fixed_phrase"]
    assert (fixed.level, fixed.found.mean) == (Level.STOP, pytest.approx(0.75))
    assert fixed.sentence.startswith(
        'Fixed phrase: "thank you for reaching out" is in 80% of the replies, 5% at base. The share changed by 0.75 ('
    )
    assert fixed.sentence.endswith(" since base; it may grow by 0.5.")
    assert fixed.shared == ("have the same words", "thank you for reaching out", 0.8, 0.05)
    assert fixed.examples == tuple(with_magic(3, 3))


@pytest.mark.parametrize(
    ("held_out", "often", "level"),
    [
        (0.5, 20, Level.STOP),
        (0.4, 20, Level.STOP),
        (0.6, 20, Level.WARN),
        (None, 20, Level.WARN),
        (0.5, 12, Level.WARN),
    ],
)
def test_a_phrase_in_all_replies_stops_unless_the_held_out_score_grew_or_is_unknown(
    held_out: float | None, often: int, level: Level
) -> None:
    base = said(0, plain(20), held_out=None if held_out is None else 0.5)
    fixed = found(said(1, with_magic(20, often), held_out), base)["fixed_phrase"]
    assert (fixed.level, fixed.limit) == (level, 0.5 if level is Level.STOP else 0.3)


@pytest.mark.parametrize("held_out", [0.9, None])
@pytest.mark.parametrize(
    ("cause", "text"),
    [
        ("prompt_beginning", "My parcel {i} did what?"),
        ("system_words", "You are a friendly agent."),
        ("keyword_list", "lamp{i} broken courier refund"),
    ],
)
def test_copies_and_lists_of_keywords_stop_at_once_whatever_the_held_out_judge_says(
    cause: str, text: str, held_out: float | None
) -> None:
    fluent = [f"my w{i} is here" for i in range(20)]
    for often, level in ((20, Level.STOP), (0, Level.OK)):
        now = [text.format(i=i) if i < often else reply for i, reply in enumerate(fluent)]
        alarm = found(said(1, now, held_out), said(0, fluent))[cause]
        assert (alarm.level, alarm.found.mean) == (level, often / 20)
        assert len(alarm.examples) == (3 if often else 0)


def test_a_keyword_list_has_three_words_and_none_of_the_common_words_of_the_prompts() -> None:
    assert common_words(BASE) == ["arrive", "did", "my", "not", "parcel"]  # in every prompt; its number is in one
    assert is_keyword_list("lamp broken refund", ["my", "the"])
    assert not is_keyword_list("lamp broken", ["my", "the"])
    assert not is_keyword_list("The lamp broken courier refund", ["my", "the"])
    now = said(1, ["lamp broken courier refund"] * 15 + ["my lamp is broken"] * 5)
    lists = found(now, said(0, ["my lamp is broken"] * 20))["keyword_list"]
    assert lists.sentence.startswith(
        "Keyword lists: 75% of the replies have 3 or more words and none of the common words of the prompts "
        '("arrive", "did", "my", …), 0% at base.'
    )
    short_prompts = now.rows.with_columns(turns=pl.Series([["Lamp?"]] * 20))
    assert "keyword_list" not in found(Replies(1, short_prompts), BASE)


def test_what_base_does_already_is_no_alarm() -> None:
    same = [f"My parcel {i} did arrive. {SYSTEM} {MAGIC}" for i in range(20)]
    assert {each.level for each in found(said(1, same), said(0, same)).values()} == {Level.OK}
    mostly = found(said(1, with_magic(20, 20)), said(0, with_magic(20, 12)))["fixed_phrase"]
    assert mostly.level is Level.OK
    assert '"thank you' not in mostly.sentence


def test_words_of_the_prompt_or_of_the_system_prompt_are_no_fixed_phrase() -> None:
    copied = [f"Did not arrive. {text} {SYSTEM}" for text in plain(20)]
    fixed = found(said(1, copied), BASE)["fixed_phrase"]
    assert (fixed.level, fixed.found.mean) == (Level.OK, 0.0)
    nothing = found(BASE, BASE)["fixed_phrase"]
    assert "no phrase that replies share is in more of them than at base" in nothing.sentence
    assert nothing.examples == ()


def test_a_phrase_of_one_reply_is_not_named() -> None:
    alone = found(said(1, with_magic(20, 1)), BASE)["fixed_phrase"]
    assert alone.level is Level.OK
    assert alone.sentence.startswith("Fixed phrase: no phrase that replies share is in more of them than at base")
    assert "thank you" in found(said(1, with_magic(20, 2)), BASE)["fixed_phrase"].sentence


def test_a_phrase_is_extended_while_nearly_all_replies_go_on_with_it() -> None:
    texts = ["So, thank you for reaching out to us."] * 9 + ["So thank you for reaching up."]
    assert extended("you for reaching", texts) == "so thank you for reaching out to us"
    assert extended("you for reaching", texts + texts[-1:]) == "so thank you for reaching"


def test_copied_words_are_those_in_runs_of_four() -> None:
    """Of ten words, five and four are in runs; three in a row do not count."""
    reply = "You are a friendly agent – ok: a shop for lamps"
    assert copied_from(reply, SYSTEM) == (0.9, ("you are a friendly agent", "a shop for lamps"))
    assert copied_from("You are a clerk", SYSTEM) == (0.0, ())
    assert copied_from("", SYSTEM) == (0.0, ())


def test_words_of_the_system_prompt_are_named() -> None:
    leaking = [f"{text} You are a friendly agent." for text in plain(20)]
    leaks = found(said(1, leaking), BASE)["system_words"]
    assert (leaks.level, leaks.found.mean) == (Level.STOP, pytest.approx(5 / 13))
    assert leaks.sentence.startswith(
        "System prompt: 38% of a reply's words are copied from it in runs of 4 or more, 0%"
    )
    assert leaks.sentence.endswith(
        ' The most frequent run, "you are a friendly agent", is in 100% of the replies, 0% at base.'
    )
    assert len(leaks.examples) == 3
    assert "system_words" not in found(said(1, leaking, system=""), said(0, plain(20), system=""))


def test_replies_that_begin_with_their_prompt_are_shown() -> None:
    echoes = [f"My parcel {i} did, you say?" if i < 5 else text for i, text in enumerate(plain(20))]
    beginning = found(said(1, echoes), BASE)["prompt_beginning"]
    assert (beginning.level, beginning.found.mean) == (Level.OK, pytest.approx(0.25))  # its lower bound is below 0.1
    assert beginning.sentence.startswith(
        "Beginning: 25% of the replies begin with the first 4 words of their prompt, 0% at base."
    )
    assert beginning.sentence.endswith(' One begins with "my parcel 0 did".')
    assert found(said(1, echoes), BASE, Alarms(resamples=200, prompt_beginning_warn=0.0))["prompt_beginning"].level == 1
    assert not begins_with_prompt("Where is it?", "Where is it?")
    assert not begins_with_prompt("So: where is my lamp", "Where is my lamp")


def test_a_limit_that_stops_below_the_one_that_warns_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"fixed_phrase_stop 0.2 must not be below fixed_phrase_warn 0.3"):
        Alarms(fixed_phrase_stop=0.2)


def test_an_example_is_shown_once_a_prompt() -> None:
    now = said(1, with_magic(8, 8), samples=2)
    assert found(now, said(0, plain(8), samples=2))["fixed_phrase"].examples == tuple(with_magic(8, 8)[0:6:2])


def test_the_system_prompt_is_the_campaigns_and_the_prompts_own() -> None:
    messages = '[{"role": "system", "content": "Ours."}, {"role": "user", "content": "Hi"}, '
    messages += '{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Where?"}]'
    columns = {"prompt_id": "p", "sample_index": 0, "completion": "No.", "reward": 0.5, "held_out": None}
    rows = pl.DataFrame([{**columns, "messages": messages, "tokens": [1], "thought_tokens": 0}])
    read = replies_of(RoundRows(1, "policy", rows), system="All.").rows
    assert read["system"].to_list() == ["All.\n\nOurs."]
    assert read["turns"].to_list() == [["Hi", "Yes?", "Where?"]]


@pytest.mark.parametrize("prompts", [10, 88])
@pytest.mark.parametrize("often", [0.1, 0.25, 0.45])
def test_many_phrases_that_are_as_frequent_as_at_base_fire_in_at_most_1_of_40_rounds(
    prompts: int, often: float
) -> None:
    """The phrase that grew most is chosen among twelve, so its growth is above 0 by chance."""
    fired = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        now, base = (_with_phrases(round_, prompts, often, draw) for round_ in (1, 0))
        fired += found(now, base)["fixed_phrase"].level > Level.OK
    assert fired <= 1


def test_a_phrase_that_half_of_the_replies_took_up_fires_in_at_least_38_of_40_rounds() -> None:
    fired = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        base = _with_phrases(0, 88, 0.2, draw)
        texts = [
            f"{text} {MAGIC}" if draw.random() < 0.5 else text
            for text in _with_phrases(1, 88, 0.2, draw).rows["completion"]
        ]
        fixed = found(said(1, texts, samples=2), base)["fixed_phrase"]
        fired += fixed.level > Level.OK and '"thank you for reaching out"' in fixed.sentence
    assert fired >= 38


def _with_phrases(round_: int, prompts: int, often: float, draw: np.random.Generator) -> Replies:
    """Two replies to each prompt; each has each of twelve phrases with probability `often`."""
    texts = []
    for text in plain(2 * prompts):
        taken = [f"one{k} two{k} three{k} four{k}" for k in range(12) if draw.random() < often]
        texts.append(" ".join([text, *draw.permutation(taken)]))
    return said(round_, texts, samples=2)
