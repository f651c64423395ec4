"""What counts as personal data, and what does not."""

import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import Retrain
from rft_pipeline.errors import ConfigError
from rft_pipeline.prompts.redaction import Redactor

TIMES = {"cron": "0 3 * * 1", "logs": "logs"}


def redacted(text: Any, folder: Path | None = None, **settings: Any) -> tuple[Any, dict[str, int]]:
    retrain = Retrain.model_validate({**TIMES, **settings}, context={"folder": folder})
    found: Counter[str] = Counter()
    clean = Redactor.of(retrain).clean(text, found)
    return clean, {kind: count for kind, count in found.items() if count}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("write to ann.lee+shop@mail.example.co.uk.", "write to <email>."),
        ("jürgen@bücher.de, please", "<email>, please"),
        ("a@b is no address, and @ann neither", "a@b is no address, and @ann neither"),
        ("call 212-736-5000 or 917 555 0199", "call <phone> or <phone>"),
        ("my number is (650) 253-0000", "my number is <phone>"),
        ("Tel. 030 1234567", "Tel. <phone>"),
        ("ring +33 6 12 34 56 78 after six", "ring <phone> after six"),
        ("020 7946 0958", "<phone>"),
        ("card 4111 1111 1111 1111 12/27", "card <card> 12/27"),
        ("4111-1111-1111-1111", "<card>"),
        ("I paid with 378282246310005", "I paid with <card>"),
        ("order 12 4111 1111 1111 1111 late", "order 12 <card> late"),
        ("4111  1111  1111  1111", "<card>"),
        ("4111\u20111111\u20111111\u20111111", "<card>"),
        ("card4111_1111_1111_1111", "card<card>"),
        ("?mail=ann.lee%40b.example&a=1", "?mail=<email>&a=1"),
        ("ann＠b.example", "<email>"),
        ("(212) 736-5000, 212.736.5000, 2127365000", "<phone>, <phone>, <phone>"),
        ("+1-212-736-5000x123 or +49 (0)30 1234567", "<phone> or <phone>"),
        ("tel:+12127365000", "tel:<phone>"),
        ("0049 30 1234567", "<phone>"),
        ("4111 - 1111 - 1111 - 1111, 4111/1111/1111/1111, 4111,1111,1111,1111", "<card>, <card>, <card>"),
        ("4111 1111\n1111 1111 or 4111\u200b1111\u200b1111\u200b1111", "<card> or <card>"),
        ("3782 822463 10005, 3056 930902 5904, 6304 0000 0000 0000 000", "<card>, <card>, <card>"),
        ("4111 1111 1111 1111 123", "<card> 123"),
        ("212 736 5000 917 555 0199", "<phone> <phone>"),
        ("ring (212)\n736-5000 now", "ring <phone> now"),
        ("02.01.2024 12:30 030 1234567", "02.01.2024 12:30 <phone>"),
        ("ju\u0308rgen@bu\u0308cher.example", "<email>"),
        ("ann@bücher.xn--p1ai, user/dept@b.example", "<email>, <email>"),
        ("?mail=ann%40b%2Eexample&a=1", "?mail=<email>&a=1"),
        ("संपर्क@डाटामेल.भारत", "<email>"),
        ("**ann@b.example** (bob@b.example)", "**<email>** (<email>)"),
        ("4111 1111 1111 1112 fails the check digit", "4111 1111 1111 1112 fails the check digit"),
    ],
)
def test_personal_data_is_replaced(text: str, clean: str) -> None:
    assert redacted(text)[0] == clean


@pytest.mark.parametrize(
    "text",
    [
        "order 12345678 of 2024-01-05 12:30",
        "paid 1,234,567.89 for 3 lamps",
        "ticket #884512, ISBN 978-3-16-148410-0",
        "server 192.168.100.200",
        "order 4417-2203",
        "order number 44172203, invoice 20240105-0012",
        "my order 1004417220, tracking 1Z999AA10123456784",
        "ISBN 0-306-40615-2, ISBN-13: 978-0-306-40615-7, version 4.30.1234567",
        "2023 2024 2025 2026, IMG_20241111_135626.jpg, 2.718281828459045, 0.914941436853761",
        "EAN 4006381333931, zip 10115-2203, 52.5200066, 13.404954",
        "",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert redacted(text) == (text, {})


def test_a_local_number_is_known_in_its_own_region_only() -> None:
    assert redacted("06 12 34 56 78", phone_regions=["US"])[0] == "06 12 34 56 78"
    assert redacted("06 12 34 56 78", phone_regions=["FR"])[0] == "<phone>"
    assert redacted("06 12 34 56 78, +33 6 12 34 56 78", phone_regions=[])[0] == "06 12 34 56 78, <phone>"


def test_fields_are_redacted_too_and_places_counted() -> None:
    row = {"from": "a@b.example", "cc": ["c@d.example", 3], "card": 4111111111111111, "paid": True, "sum": 1.5}
    clean, found = redacted(row)
    assert clean == {"from": "<email>", "cc": ["<email>", 3], "card": "<card>", "paid": True, "sum": 1.5}
    assert found == {"email": 2, "card": 1}


def test_an_empty_list_turns_it_off() -> None:
    assert redacted("a@b.example, 4111111111111111", redact=[]) == ("a@b.example, 4111111111111111", {})
    assert redacted("a@b.example, 4111111111111111", redact=["card"]) == ("a@b.example, <card>", {"card": 1})


def test_the_users_function_is_applied_as_well(tmp_path: Path) -> None:
    (tmp_path / "privacy.py").write_text("def names(text):\n    return text.replace('Ann', '<name>')\n", "utf-8")
    clean, found = redacted("Ann is ann@b.example", tmp_path, redact_with="privacy:names")
    assert clean == "<name> is <email>"
    assert found == {"privacy:names": 1, "email": 1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "privacy:f must return the redacted text, returned NoneType"),
        ("raise KeyError('x')", "privacy:f raised KeyError: 'x'"),
    ],
)
def test_a_function_that_fails_stops_the_draw(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "privacy.py").write_text(f"def f(text):\n    {body}\n", "utf-8")
    with pytest.raises(ConfigError, match=message):
        redacted("text", tmp_path, redact_with="privacy:f")


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"phone_regions: XX is not a region; use ISO codes"):
        redacted("text", phone_regions=["XX", "DE"])


def test_the_dates_of_three_years_stay_however_they_are_written() -> None:
    spellings = ("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d")
    days = [datetime(2024, 1, 1, 9, 41, 7) + timedelta(days=day, minutes=37 * day) for day in range(3 * 366)]
    redactor = Redactor.of(Retrain.model_validate({**TIMES, "phone_regions": ["DE"]}))
    for spelling in spellings:
        found: Counter[str] = Counter()
        for day in days:
            redactor.clean(f"since {day:{spelling}} I wait", found)
        assert found.total() == 0, spelling


@pytest.mark.parametrize(
    ("one", "count", "most"),
    [
        ("{:02d}", 20, 0),
        ("20{:02d}", 4, 0),
        ("47{:02d}", 9, 0),
        ("{:.15f}", 3, 0),
        ("IMG_202411{:02d}_135626.jpg", 5, 0),
    ],
)
def test_lists_of_numbers_stay(one: str, count: int, most: int) -> None:
    drawn = random.Random(7)
    redactor, found = Redactor.of(Retrain.model_validate(TIMES)), Counter[str]()
    for _ in range(200):
        numbers = [drawn.random() if "f" in one else drawn.randrange(10, 100) for _ in range(count)]
        redactor.clean(" ".join(one.format(number) for number in numbers), found)
    assert found.total() <= most, found


def test_long_texts_of_digits_and_signs_come_back_as_they_are() -> None:
    text = "a" * 20_000 + "@ " + "1 " * 5_000
    assert redacted(text)[0] == text
