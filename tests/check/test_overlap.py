"""Eval prompts that were seen in training."""

import json
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rft_pipeline.errors import DataError
from rft_pipeline.prompts.overlap import Overlap, overlaps
from rft_pipeline.rules.words import folded_words
from tests.check.small import EVAL, TRAIN, campaign, errors


def test_an_eval_prompt_that_is_a_train_prompt_but_for_its_spelling_is_refused(tmp_path: Path) -> None:
    folder = campaign(
        tmp_path, held_out=[*EVAL, {"id": "same", "prompt": "  TRAIN two, two-ty: twoteen!", "urgent": True}]
    )
    assert errors(folder, DataError) == [
        "eval.jsonl: same has the same text as t2 of train.jsonl; evaluation needs prompts that training does not use: "
        "change or remove one"
    ]


def test_a_near_duplicate_names_both_rows_and_how_alike_they_are(tmp_path: Path) -> None:
    train = [*TRAIN, {"id": "t8", "prompt": "My lamp came broken, please send a new one.", "urgent": True}]
    held_out = [*EVAL, {"id": "e8", "prompt": "My lamp came broken, please send a new one soon.", "urgent": True}]
    folder = campaign(tmp_path, train=train, held_out=held_out)
    [error] = errors(folder, DataError)
    assert error.startswith("eval.jsonl: e8 shares 88% of word triples with t8 of train.jsonl; ")  # 7 of 8 triples


def frame(*texts: str) -> pl.DataFrame:
    messages = [json.dumps([{"role": "user", "content": text}]) for text in texts]
    return pl.DataFrame({"id": [str(i) for i in range(len(texts))], "messages": messages})


def test_the_limit_of_near_duplicates_is_above_three_fifths() -> None:
    train = frame("a b c d e f")  # 4 triples
    assert overlaps(train, frame("a b c d e x")) == []  # 3 of 5
    assert overlaps(train, frame("a b c d e f g")) == [Overlap("0", "0", 0.8)]  # 4 of 5


def test_prompts_that_differ_in_their_own_system_turn_alone_are_different_prompts() -> None:
    def under(system: str, asked: str) -> pl.DataFrame:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
        return pl.DataFrame({"id": ["0"], "messages": [json.dumps(turns)]})

    train = under("Returns within 30 days.", "Can I send the lamp back?")
    assert overlaps(train, under("Returns within 14 days.", "Can I send the lamp back?")) == []
    assert overlaps(train, frame("Can I send the lamp back?")) == []
    assert overlaps(train, under("returns within 30 days", "Can I send the lamp back, please?")) == [
        Overlap("0", "0", 0.8)  # 4 of 5 triples
    ]
    rules = "Returns within 30 days. Be kind. Answer in one sentence. Never name a price."
    assert overlaps(under(rules, "Can I send the lamp back?"), under(rules, "Where is my new desk now?")) == []


def test_texts_of_punctuation_alone_are_not_all_the_same() -> None:
    assert overlaps(frame("???"), frame("!!!")) == []
    assert overlaps(frame("???"), frame("???")) == [Overlap("0", "0", 1.0)]


@given(
    st.lists(st.text("ab ", min_size=1, max_size=12), min_size=1, max_size=6), st.text("ab ", min_size=1, max_size=12)
)
def test_only_the_rarest_triples_are_searched_and_nothing_near_is_missed(train: list[str], held_out: str) -> None:
    def triples(text: str) -> set[tuple[str, ...]]:
        found = folded_words(text)
        return {tuple(found[i : i + 3]) for i in range(max(1, len(found) - 2))}

    mine = triples(held_out)
    near = any(
        "".join(folded_words(text)) == "".join(folded_words(held_out))
        or len(mine & triples(text)) / len(mine | triples(text)) > 0.6
        for text in train
    )
    assert bool(overlaps(frame(*train), frame(held_out))) == near
