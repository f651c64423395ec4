"""Several servers of one model."""

from collections.abc import Iterator

import httpx2
import pytest

from rft_pipeline.campaign import Server
from rft_pipeline.engines import http_client
from rft_pipeline.engines.http_client import Addresses
from rft_pipeline.engines.openai import OpenAIEngine
from tests.engines.faulty_server import verdict_of
from tests.engines.serving import SETTINGS, Serving, by_id, questions, serving


@pytest.fixture
def two() -> Iterator[tuple[Serving, Serving]]:
    with serving() as one, serving() as other:
        yield one, other


def engine_of(*servers: Serving, **settings: object) -> OpenAIEngine:
    found = {"url": [each.url for each in servers], **SETTINGS, **settings}
    return OpenAIEngine("served:judge", Server.model_validate(found), "judges.strong")


def calls_of(server: Serving) -> int:
    return sum(map(len, server.seen()["tries"].values()))


def assert_all_answered(engine: OpenAIEngine, count: int) -> None:
    replies = by_id(list(engine.ask(questions(count))))
    assert {each.request_id: each.text for each in replies.values()} == {
        f"q{n}": verdict_of(n).capitalize() for n in range(count)
    }


def test_calls_go_to_the_server_with_the_fewest() -> None:
    addresses = Addresses(["http://one", "http://two", "http://three"])
    picked = []
    for _ in range(6):
        picked.append(addresses.pick())
        addresses.running[picked[-1]] += 1
    assert picked == [0, 1, 2, 0, 1, 2]
    addresses.running[1] -= 1  # answered
    assert addresses.pick() == 1
    addresses.failed(1)
    assert addresses.pick() == 0


def test_all_servers_share_the_calls(two: tuple[Serving, Serving]) -> None:
    assert_all_answered(engine_of(*two), 100)
    one, other = map(calls_of, two)
    assert one + other == 100
    assert min(one, other) > 0


def test_a_server_that_fails_gets_no_call_for_a_while_and_then_again(two: tuple[Serving, Serving]) -> None:
    ill, well = two
    ill.plan(share=1, kinds=("500",), lasting=1, retry_after="")
    well.plan(delay=0.05)
    engine = engine_of(ill, well)
    assert_all_answered(engine, 60)
    assert 1 <= calls_of(ill) <= 8 * 3  # those under way when it failed, and a try after each pause
    ill.plan()
    engine.addresses.answered(0)  # as after its pause
    assert_all_answered(engine, 60)
    assert calls_of(ill) >= 10


def test_of_a_server_that_is_killed_nothing_is_lost(two: tuple[Serving, Serving]) -> None:
    killed, other = two
    killed.plan(delay=0.1)
    other.plan(delay=0.1)
    replies = engine_of(killed, other).ask(questions(80))
    found = [next(replies) for _ in range(10)]
    killed.process.kill()
    found += replies
    assert len(by_id(found)) == 80
    assert not any(each.error for each in found)


def test_one_that_was_never_there_does_not_stop_the_others(two: tuple[Serving, Serving]) -> None:
    gone, other = two
    gone.process.kill()
    gone.process.wait()
    found = list(engine_of(gone, other, attempts=1).ask(questions(40)))
    assert len(by_id(found)) == 40
    assert sum(not each.error for each in found) >= 30


def test_a_server_without_the_model_loses_no_question(two: tuple[Serving, Serving]) -> None:
    without, well = two
    without.plan(key="another")  # answers 401
    well.plan(delay=0.05)
    assert_all_answered(engine_of(without, well), 60)
    assert calls_of(well) == 60


def test_calls_that_fail_together_are_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(http_client.time, "monotonic", lambda: now[0])
    servers = Addresses(["http://a/v1", "http://b/v1"])
    for _ in range(8):
        servers.failed(0)
    servers.running = [0, 5]
    assert servers.pick() == 1
    now[0] = 1.01
    assert servers.pick() == 0


def test_a_pause_doubles_up_to_a_minute_and_ends_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(http_client.time, "monotonic", lambda: now[0])
    servers = Addresses(["http://a/v1", "http://b/v1"])
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        servers.failed(0)
        now[0] += pause - 0.01
        servers.running = [0, 5]
        assert servers.pick() == 1
        now[0] += 0.02
        assert servers.pick() == 0
    servers.failed(1)
    servers.failed(0)
    assert servers.pick() == 1  # its pause ends first
    assert servers.all_fail
    servers.answered(0)
    assert servers.pick() == 0
    assert not servers.all_fail


def test_a_call_keeps_what_is_below_the_address() -> None:
    servers = Addresses(["http://a:1/v1", "https://b/deep/v1/"])
    url = httpx2.URL("http://a:1/v1/chat/completions?x=1")
    assert str(servers.of(0, url)) == "http://a:1/v1/chat/completions?x=1"
    assert str(servers.of(1, url)) == "https://b/deep/v1/chat/completions?x=1"
