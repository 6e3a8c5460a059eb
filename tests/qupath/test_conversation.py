"""A process that answers questions: what becomes of one that hangs, is late, dies or babbles."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from wsi_suite.qupath.conversation import (
    Conversation,
    DeathError,
    NonsenseError,
    Patience,
    SilenceError,
)

Talk = Callable[[str], Conversation]


@pytest.fixture
def talk() -> Talk:
    """Start a Python program that runs `body` for each question, as `question`."""

    def start(body: str, *, idle_s: float = 0.4, busy_s: float = 60.0) -> Conversation:
        program = f"""
import json, os, sys, time
def say(**message): print(json.dumps(message), flush=True)
for line in sys.stdin:
    question = json.loads(line)
    {body}
"""
        command = (sys.executable, "-c", program)
        return Conversation(command, patience=Patience(idle_s=idle_s, busy_s=busy_s))

    return start


def ask(conversation: Conversation, **question: Any) -> dict[str, Any]:
    return conversation.ask(question, hear=lambda message: None)


def test_a_process_that_hangs_is_ended(talk: Talk) -> None:
    conversation = talk("time.sleep(3600)")
    with pytest.raises(SilenceError):
        ask(conversation, do="images")
    assert conversation.end() is not None


def test_a_process_that_computes_is_waited_for(talk: Talk) -> None:
    conversation = talk(
        "until = time.monotonic() + 1.5\n"
        "    while time.monotonic() < until: pass\n"
        "    say(id=question['id'], result=1)"
    )
    assert ask(conversation, do="push")["result"] == 1
    conversation.end()


def test_a_process_that_computes_for_ever_is_ended(talk: Talk) -> None:
    conversation = talk("while True: pass", busy_s=1.0)
    with pytest.raises(SilenceError):
        ask(conversation, do="push")


def test_an_answer_to_another_question_is_not_taken(talk: Talk) -> None:
    conversation = talk(
        "say(id=question['id'] - 1, result='late'); say(id=question['id'], result='mine')"
    )
    assert [ask(conversation, do="x")["result"] for _ in range(2)] == ["mine", "mine"]
    conversation.end()


def test_a_question_that_was_broken_off_leaves_no_answer_behind(talk: Talk) -> None:
    conversation = talk("say(id=question['id'], progress=0.5); say(id=question['id'], result=1)")

    def interrupt(message: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.ask({"do": "push"}, hear=interrupt)
    with pytest.raises(DeathError):
        ask(conversation, do="images")


def test_a_process_that_prints_no_answer_is_ended(talk: Talk) -> None:
    conversation = talk("print('Exception in thread main', flush=True)")
    with pytest.raises(NonsenseError, match="Exception in thread main"):
        ask(conversation, do="images")
