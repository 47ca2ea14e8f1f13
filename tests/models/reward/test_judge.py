"""The zero-shot judge against a local server that answers, misbehaves, or is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caig_rl.config.reward import JudgeConfig
from caig_rl.errors import ConfigError
from caig_rl.models.reward.endpoint import SILENT_QUESTIONS, ChatEndpoint, EndpointFault, Fault, RateLimiter
from caig_rl.models.reward.interface import RewardError
from caig_rl.models.reward.judge import RewardJudge, said_side
from caig_rl.types import Product
from tests.models.fake_endpoint import FakeEndpoint, Reply, brighter_side, picture_of, says, serve

MUG = Product("mug", "Red mug", "kitchen", "Holds tea.")
DARK, BRIGHT = np.full((40, 40, 3), 20, np.uint8), np.full((40, 40, 3), 220, np.uint8)
UNIQUE = [np.full((40, 40, 3), value, np.uint8) for value in range(0, 240, 8)]


def _judge(endpoint: FakeEndpoint | None, sleeps: list[float], **settings: Any) -> RewardJudge:
    url = endpoint.url if endpoint else "http://127.0.0.1:9/v1"
    config = JudgeConfig(**{"url": url, "model": "some-vlm", "image_size": 32, "requests_per_minute": 1e9} | settings)
    return RewardJudge(config, ChatEndpoint(config, sleep=sleeps.append))


def test_a_judge_that_looks_at_the_picture_orders_creatives_and_is_paid_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    with serve(brighter_side) as endpoint:
        judge = _judge(endpoint, [], key_env="SOME_KEY", price_in=5.0, price_out=15.0)
        assert judge.compare([MUG, MUG], [DARK, BRIGHT], [BRIGHT, DARK]).tolist() == [-1.0, 1.0]
        scores = judge.score([MUG] * 3, [UNIQUE[3], UNIQUE[20], UNIQUE[10]])
    assert np.argsort(scores).tolist() == [0, 2, 1]
    assert set(endpoint.keys) == {"Bearer secret"}
    usage = judge.endpoint.usage
    assert usage.answers == len(endpoint.requests) == 8  # the two pairs above are each other's other order
    assert usage.cost(JudgeConfig(price_in=5.0, price_out=15.0)) == pytest.approx(8 * (1000 * 5 + 2 * 15) / 1e6)


def test_the_question_names_the_product_and_shows_the_left_creative_left():
    with serve(brighter_side) as endpoint:
        _judge(endpoint, []).verdicts([MUG], [BRIGHT], [DARK])
    (request,) = endpoint.requests
    text = request["messages"][0]["content"][1]["text"]
    assert "Red mug (kitchen) Holds tea." in text and "left or right" in text
    assert picture_of(request).shape == (32, 64, 3)
    assert picture_of(request)[:, :32].mean() > picture_of(request)[:, 32:].mean()
    assert (request["model"], request["temperature"]) == ("some-vlm", 0.0)


@pytest.mark.parametrize(("asked", "sent"), [(False, None), (True, {"choice": ["left", "right"]})])
def test_only_an_endpoint_that_can_is_asked_to_keep_to_the_two_words(asked: bool, sent: object):
    with serve(brighter_side) as endpoint:
        _judge(endpoint, [], structured_outputs=asked).verdicts([MUG], [BRIGHT], [DARK])
    assert [request.get("structured_outputs") for request in endpoint.requests] == [sent]


def test_an_answer_that_follows_the_position_is_undecided():
    with serve(lambda request: says("left")) as endpoint:
        judge = _judge(endpoint, [])
        assert judge.compare([MUG], [DARK], [BRIGHT]).tolist() == [0.0]
        assert judge.score([MUG] * 2, [DARK, BRIGHT]).tolist() == [0.0, 0.0]
    assert not judge.endpoint.faults


def _failing(reply: Reply) -> Callable[[dict[str, Any]], Reply]:
    return lambda request: reply


@pytest.mark.parametrize(
    ("reply", "fault", "attempts"),
    [
        ((401, {}, b"no such key"), Fault.REFUSED, 1),
        ((403, {}, b"not allowed"), Fault.REFUSED, 1),
        ((400, {}, b"no such model"), Fault.BAD_REQUEST, 1),
        ((429, {}, b"slow down"), Fault.BUSY, 3),
        ((503, {}, b"overloaded"), Fault.SERVER_ERROR, 3),
        ((200, {}, b"<html>proxy</html>"), Fault.NONSENSE, 1),
        ((200, {}, b'{"choices": []}'), Fault.NONSENSE, 1),
        ((200, {}, b'{"choices": [{"message": {"content": null}}]}'), Fault.NONSENSE, 1),
        (says("Both are lovely."), Fault.NONSENSE, 1),
        (says("Left, or maybe right."), Fault.NONSENSE, 1),
    ],
)
def test_every_fault_is_counted_by_its_kind_and_gives_no_verdict(reply: Reply, fault: Fault, attempts: int):
    sleeps: list[float] = []
    with serve(_failing(reply)) as endpoint:
        judge = _judge(endpoint, sleeps, attempts=3)
        with pytest.raises(RewardError, match=f"no verdict.*2 {fault}.*mug"):
            judge.compare([MUG], [DARK], [BRIGHT])
        assert len(endpoint.requests) == 2 * attempts
    assert dict(judge.endpoint.faults) == {fault: 2}
    assert len([pause for pause in sleeps if pause > 0.4]) == 2 * (attempts - 1)


def test_an_endpoint_that_is_not_there_and_one_that_is_slow_are_told_apart():
    judge = _judge(None, [], attempts=2)
    with pytest.raises(RewardError, match="unreachable"):
        judge.compare([MUG], [DARK], [BRIGHT])
    assert dict(judge.endpoint.faults) == {Fault.UNREACHABLE: 2} and judge.endpoint.usage.requests == 4
    release = threading.Event()

    def slow(request: dict[str, Any]) -> Reply:
        release.wait(30)
        return says("left")

    with serve(slow) as endpoint:
        judge = _judge(endpoint, [], attempts=1, timeout_s=0.2)
        with pytest.raises(RewardError, match="timeout"):
            judge.compare([MUG], [DARK], [BRIGHT])
        release.set()
    assert dict(judge.endpoint.faults) == {Fault.TIMEOUT: 2}


@pytest.mark.parametrize(("fault", "attempts"), [(Fault.UNREACHABLE, 2), (Fault.REFUSED, 1)])
def test_an_endpoint_that_never_heard_a_question_is_soon_asked_no_more(fault: Fault, attempts: int):
    endpoint = ChatEndpoint(JudgeConfig(url="http://127.0.0.1:9/v1", attempts=2, concurrency=4, requests_per_minute=1e9), lambda s: None)
    with serve(_failing((401, {}, b"no such key"))) as refusing:
        if fault is Fault.REFUSED:
            endpoint = ChatEndpoint(JudgeConfig(url=refusing.url, concurrency=4, requests_per_minute=1e9), lambda s: None)
        answers = endpoint.ask_all([[{"role": "user", "content": str(number)}] for number in range(200)], {})
        assert [answer.fault for answer in answers if isinstance(answer, EndpointFault)] == [fault] * 200
        assert dict(endpoint.faults) == {fault: 200} and endpoint.is_silent
        # Three more threads were on their way when the last of them failed.
        assert SILENT_QUESTIONS * attempts <= endpoint.usage.requests <= (SILENT_QUESTIONS + 3) * attempts
        # The next batch tries it again.
        before = endpoint.usage.requests
        endpoint.ask_all([[{"role": "user", "content": "again"}]] * 50, {})
        assert attempts <= endpoint.usage.requests - before <= 4 * attempts
        if fault is Fault.REFUSED:
            refusing.answer = lambda request: says("left")
            assert endpoint.ask_all([[{"role": "user", "content": "now"}]] * 3, {}) == ["left"] * 3
            assert not endpoint.is_silent


def test_a_hiccup_of_an_endpoint_that_had_answered_stops_nothing():
    with serve(lambda request: says("left")) as endpoint:
        asked = ChatEndpoint(JudgeConfig(url=endpoint.url, concurrency=1, requests_per_minute=1e9), lambda s: None)
        messages = [[{"role": "user", "content": str(number)}] for number in range(2 * SILENT_QUESTIONS)]
        asked.ask_all(messages[:1], {})
        endpoint.answer = _failing((403, {}, b"not now"))
        asked.ask_all(messages, {})
        assert len(endpoint.requests) == 1 + len(messages) and not asked.is_silent
        endpoint.answer = lambda request: says("right")
        assert asked.ask_all(messages, {}) == ["right"] * len(messages)


def test_a_server_that_is_there_but_overloaded_or_puzzled_is_not_taken_for_silent():
    with serve(_failing((503, {}, b"overloaded"))) as endpoint:
        asked = ChatEndpoint(JudgeConfig(url=endpoint.url, attempts=1, concurrency=1, requests_per_minute=1e9), lambda s: None)
        asked.ask_all([[{"role": "user", "content": "q"}]] * (2 * SILENT_QUESTIONS), {})
        assert len(endpoint.requests) == 2 * SILENT_QUESTIONS and not asked.is_silent


def test_a_key_with_a_line_break_at_its_end_is_sent_without_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", " sk-secret\n")
    with serve(brighter_side) as endpoint:
        _judge(endpoint, [], key_env="SOME_KEY").verdicts([MUG], [BRIGHT], [DARK])
    assert endpoint.keys == ["Bearer sk-secret"]


@pytest.mark.parametrize("key", ["sk-sec\nret", "sk-sec\x00ret", "sk-secret\u200b", "sk-s\u00e9cret"])
def test_a_key_that_no_header_can_carry_is_refused_by_the_name_of_its_variable_alone(monkeypatch: pytest.MonkeyPatch, key: str):
    variable = {"SOME_KEY": key}
    monkeypatch.setattr("caig_rl.models.reward.endpoint.os.environ", variable)
    with pytest.raises(ConfigError, match="the key in SOME_KEY holds") as refused:
        ChatEndpoint(JudgeConfig(key_env="SOME_KEY"))
    assert "sk-" not in str(refused.value)


@pytest.mark.parametrize("reply", [(401, {}, b"x" * 192 + b"sk-secret is no key"), (200, {}, b"sk-secret"), (500, {}, b"sk-secret")])
def test_an_endpoint_that_quotes_the_key_does_not_put_it_into_log_or_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reply: Reply
):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with serve(_failing(reply)) as endpoint:
        asked = ChatEndpoint(JudgeConfig(url=endpoint.url, key_env="SOME_KEY", attempts=1), lambda s: None)
        (error,) = asked.ask_all([[{"role": "user", "content": "q"}]], {})
    assert endpoint.keys == ["Bearer sk-secret"]
    assert "[key" in str(error) and "gave no answer" in caplog.text
    assert "sk-" not in str(error) + caplog.text


def test_a_busy_server_is_asked_again_when_it_said_and_then_answers():
    sleeps: list[float] = []
    with serve(brighter_side) as endpoint:
        replies = iter([(429, {"Retry-After": "7"}, b""), (500, {}, b"")])
        endpoint.answer = lambda request: next(replies, None) or brighter_side(request)
        judge = _judge(endpoint, sleeps, concurrency=1)
        assert judge.compare([MUG], [BRIGHT], [DARK]).tolist() == [1.0]
    assert not judge.endpoint.faults
    pauses = [pause for pause in sleeps if pause > 0.4]
    assert pauses[0] == 7.0 and 1.0 <= pauses[1] <= 3.0


def test_what_was_answered_is_not_paid_for_again_after_a_fault_beside_it():
    def silent_about_dark(request: dict[str, Any]) -> Reply:
        return (500, {}, b"") if picture_of(request).min() < 30 else brighter_side(request)

    soap = Product("soap", "Soap", "bath")
    with serve(silent_about_dark) as endpoint:
        judge = _judge(endpoint, [], attempts=1)
        with pytest.raises(RewardError) as caught:
            judge.score([MUG, MUG, soap, soap], [DARK, BRIGHT, UNIQUE[10], UNIQUE[20]])
        assert caught.value.product_ids == ("mug",)
        asked = len(endpoint.requests)
        assert judge.score([soap, soap], [UNIQUE[10], UNIQUE[20]])[1] > 0.0
        assert len(endpoint.requests) == asked == 4


def test_callers_are_let_through_at_the_rate_and_not_in_bursts():
    now, sleeps = [100.0], []
    limiter = RateLimiter(60.0, clock=lambda: now[0], sleep=sleeps.append)
    for _ in range(3):
        limiter.wait()
    assert sleeps == [1.0, 2.0]
    now[0] += 10.0
    limiter.wait()
    assert len(sleeps) == 2


def test_exactly_one_side_must_be_said():
    assert said_side("**Left**") == "left"
    assert said_side("I'd pick the right one, right?") == "right"
    assert said_side("leftover soup") is None
    assert said_side("left or right") is None
