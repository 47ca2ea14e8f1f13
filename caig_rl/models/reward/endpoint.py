"""Questions to an OpenAI-compatible chat endpoint: retried, rate-limited, paid for, and every fault counted by its kind."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

from caig_rl.config.reward import JudgeConfig
from caig_rl.errors import ConfigError

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
"""A server's Retry-After beyond this is cut to it."""
SILENT_QUESTIONS = 16
"""So many in a row that the endpoint did not hear, before it ever answered one: the rest of a batch is then not asked."""
_BUSY = 429


class Fault(StrEnum):
    """Why a question has no answer."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    """The key is missing, wrong, or not allowed to (401, 403)."""
    BUSY = "busy"
    """Too many requests (429) until the last attempt."""
    SERVER_ERROR = "server_error"
    """5xx until the last attempt."""
    BAD_REQUEST = "bad_request"
    """Another 4xx: the endpoint does not understand the question, or has no such model."""
    NONSENSE = "nonsense"
    """An answer that is no JSON of the API's form, or says neither of the words that were asked for."""


_RETRIED = (Fault.UNREACHABLE, Fault.TIMEOUT, Fault.BUSY, Fault.SERVER_ERROR)
_SILENT = (Fault.UNREACHABLE, Fault.TIMEOUT, Fault.REFUSED, Fault.NONSENSE)


class EndpointFault(Exception):
    """One question failed for good."""

    def __init__(self, fault: Fault, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Usage:
    """What was asked, answered, and paid."""

    requests: int = 0
    """Tries included."""
    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def cost(self, config: JudgeConfig) -> float:
        """In the currency of the configured prices."""
        return (self.tokens_in * config.price_in + self.tokens_out * config.price_out) / 1e6


@dataclass(frozen=True, slots=True)
class Bill:
    """What an endpoint's questions came to so far."""

    requests: int
    """Tries included."""
    answers: int
    tokens_in: int
    tokens_out: int
    cost: float
    """In the currency of the configured prices; 0 where none are."""
    faults: dict[str, int]
    """Questions that failed for good, by `Fault`, the most frequent first."""

    @property
    def text(self) -> str:
        """In one line."""
        silent = ", ".join(f"{count:,} {fault}" for fault, count in self.faults.items()) or "none"
        asked = f"{self.requests:,} requests, {self.answers:,} answers, {self.tokens_in:,} tokens read and {self.tokens_out:,} written"
        return f"{asked}, cost {self.cost:,.2f}; questions without an answer: {silent}"


class RateLimiter:
    """Lets through at most `per_minute` callers a minute, evenly spaced. Thread-safe."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._gap, self._clock, self._sleep = 60.0 / per_minute, clock, sleep
        self._next = clock()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is this caller's turn."""
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)


def key_from(variable: str) -> str:
    """The key in an environment variable, without white space around it; empty where there is none.

    Raises:
        ConfigError: no HTTP header can carry it. The message does not hold it.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"reward.judge.key_env: the key in {variable} holds a line break, another control character, or one beyond ASCII; "
            "set it to the key alone"
        )
    return key


class ChatEndpoint:
    """One endpoint. `faults` counts questions that failed for good, by `Fault`; `usage` all requests.

    Raises:
        ConfigError: see `key_from`.
    """

    def __init__(self, config: JudgeConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self._key = key_from(config.key_env)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self.faults: Counter[Fault] = Counter()
        self.usage = Usage()
        self._config, self._sleep = config, sleep
        self._client = httpx.Client(headers=headers, timeout=config.timeout_s)
        self._limiter = RateLimiter(config.requests_per_minute, sleep=sleep)
        self._jitter = random.Random(0)
        self._lock = threading.Lock()
        self._unheard = 0
        self._last: EndpointFault | None = None

    @property
    def is_silent(self) -> bool:
        """True where it never gave an answer, and did not hear the last `SILENT_QUESTIONS`."""
        return self._unheard >= SILENT_QUESTIONS and not self.usage.answers

    def ask_all(self, messages: Sequence[list[dict[str, Any]]], fields: Mapping[str, Any]) -> list[str | EndpointFault]:
        """The answer to each conversation, or why there is none; `concurrency` at a time. `fields`: of each request.

        Once it `is_silent` the rest is not asked and fails as the last one did. Each call tries it anew, with a question a thread.
        """
        self._unheard = min(self._unheard, SILENT_QUESTIONS - 1)
        with ThreadPoolExecutor(self._config.concurrency) as pool:
            return list(pool.map(lambda message: self._settled(message, fields), messages))

    def count(self, fault: Fault) -> None:
        """Count a fault that only the asker could see, like an answer without meaning."""
        with self._lock:
            self.faults[fault] += 1

    def bill(self) -> Bill:
        """Requests, tokens, cost and faults so far."""
        with self._lock:
            usage, faults = self.usage, {str(fault): count for fault, count in self.faults.most_common()}
            cost = usage.cost(self._config)
            return Bill(usage.requests, usage.answers, usage.tokens_in, usage.tokens_out, cost, faults)

    def close(self) -> None:
        """Drop the connections."""
        self._client.close()

    def _settled(self, messages: list[dict[str, Any]], fields: Mapping[str, Any]) -> str | EndpointFault:
        for attempt in range(1, self._config.attempts + 1):
            if self.is_silent and self._last is not None:
                self.count(self._last.fault)
                return self._last
            try:
                return self._ask_once(messages, fields)
            except EndpointFault as error:
                if error.fault not in _RETRIED or attempt == self._config.attempts:
                    self._note(error)
                    logger.warning("the judge at %s gave no answer after %d attempt(s): %s", self._config.url, attempt, error)
                    return error
                self._sleep(self._pause(attempt, error.retry_after_s))
        raise AssertionError("the last attempt returns")

    def _note(self, error: EndpointFault) -> None:
        self.count(error.fault)
        with self._lock:
            self._unheard = self._unheard + 1 if error.fault in _SILENT else 0
            self._last = error

    def _pause(self, attempt: int, retry_after_s: float) -> float:
        """Seconds: what the server asks for, else 1, 2, 4 ... with jitter, so that many workers do not come back at once."""
        with self._lock:
            jitter = 0.5 + self._jitter.random()
        return min(max(retry_after_s, 2.0 ** (attempt - 1) * jitter), LONGEST_WAIT_S)

    def _ask_once(self, messages: list[dict[str, Any]], fields: Mapping[str, Any]) -> str:
        self._limiter.wait()
        with self._lock:
            self.usage.requests += 1
        body = {"model": self._config.model, "messages": messages, "temperature": 0.0, **fields}
        try:
            response = self._client.post(f"{self._config.url.rstrip('/')}/chat/completions", json=body)
        except httpx.TimeoutException as error:
            raise EndpointFault(Fault.TIMEOUT, f"no answer within {self._config.timeout_s} s ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise EndpointFault(Fault.UNREACHABLE, f"{type(error).__name__}: {self._without_key(str(error))}") from error
        self._check_status(response)
        return self._read(response)

    def _without_key(self, text: str) -> str:
        """An endpoint may quote the key that it refuses, and what it says is logged."""
        return text.replace(self._key, "[key]") if self._key else text

    def excerpt(self, text: str) -> str:
        """How what the endpoint said may be quoted."""
        return repr(self._without_key(text)[:200])

    def _check_status(self, response: httpx.Response) -> None:
        status, detail = response.status_code, f"HTTP {response.status_code}: {self.excerpt(response.text)}"
        if status in (401, 403):
            raise EndpointFault(Fault.REFUSED, detail)
        if status == _BUSY:
            raise EndpointFault(Fault.BUSY, detail, _seconds(response.headers.get("retry-after", "")))
        if status >= 500:
            raise EndpointFault(Fault.SERVER_ERROR, detail, _seconds(response.headers.get("retry-after", "")))
        if status != 200:
            raise EndpointFault(Fault.BAD_REQUEST, detail)

    def _read(self, response: httpx.Response) -> str:
        try:
            content = response.json()
            text = content["choices"][0]["message"]["content"]
            usage = content.get("usage") or {}
            tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise EndpointFault(Fault.NONSENSE, f"no answer of the API's form: {self.excerpt(response.text)}") from error
        with self._lock:
            self.usage.answers += 1
            self.usage.tokens_in += tokens[0]
            self.usage.tokens_out += tokens[1]
        if not isinstance(text, str):
            raise EndpointFault(Fault.NONSENSE, f"an answer that is no text: {self.excerpt(repr(text))}")
        return text


def _seconds(header: str) -> float:
    """Retry-After in seconds; 0 where it is absent or a date."""
    return float(header) if header.isdigit() else 0.0
