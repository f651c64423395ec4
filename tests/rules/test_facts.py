import pytest

from rft_pipeline.rules import Rollout
from rft_pipeline.rules.facts import NoInventedFacts

rule = NoInventedFacts()


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("Where is it?", ""),
        ("Where is it?", "We are looking into it right away."),
        ("Order 10442 is late.", "I looked up order 10442."),
        ("It cost £45.50.", "You paid £45.50."),
        ("It cost £45.50.", "You paid £45.50, I see."),
        ("Three to five days, you said.", "I know that we said five days."),
        ("You said 5 days.", "We did say five days."),
        ("ELEVEN. days. ELEVEN days!", "I am sorry for the 11 days."),
        ("You said 3-5 days.", "We did say 5 days."),
        ("I wrote to help@Shop.com twice.", "We found the mail to help@shop.com."),
        ("Where is it?", "There are two ways to go on."),
        ("Where is it?", "We ship it (today) and are sorry."),
    ],
)
def test_a_reply_that_only_repeats_facts_passes(prompt: str, completion: str) -> None:
    assert rule(Rollout(prompt, completion)) == (1.0, "nothing invented")


@pytest.mark.parametrize(
    ("prompt", "completion", "reason"),
    [
        ("Where is it?", "It comes in 3 days.", "number '3'"),
        ("Order 10442 is late.", "I looked up order 10443.", "number '10443.'"),
        ("Order 10442 is late.", "It comes in 44 hours.", "number '44'"),
        ("I am 79.", "It comes in 9 days.", "number '9'"),
        ("Where is it?", "It comes in five days.", "amount in words 'five days'"),
        ("You said five weeks.", "It comes in five days.", "amount in words 'five days'"),
        ("Where is it?", "You get twenty per cent off.", "amount in words 'twenty per cent'"),
        ("Where is it?", "Write to help@shop.com please.", "address 'help@shop.com'"),
        ("Where is it?", "See https://shop.example/track", "address 'https://shop.example/track'"),
        ("Where is it?", "Look at Shop.com for it.", "address 'Shop.com'"),
        ("Where is it?", "Dear [Customer name], sorry.", "placeholder '[Customer name]'"),
        ("Where is it?", "Dear {name}, sorry.", "placeholder '{name}'"),
        ("Where is it?", "Dear <your name>, sorry.", "placeholder '<your name>'"),
        ("Dear [Customer name]", "Dear [Customer name], sorry.", "placeholder '[Customer name]'"),
    ],
)
def test_a_reply_with_a_fact_of_its_own_scores_zero(prompt: str, completion: str, reason: str) -> None:
    assert rule(Rollout(prompt, completion)) == (0.0, f"{reason} is not in the prompt")


def test_text_that_looks_like_a_pattern_is_only_text() -> None:
    assert rule(Rollout("Part a.b+1 broke", "Part a.b+1 is on its way.")).score == 1.0
