"""Questions put to a person at a terminal, or answered on the command line; every answer is judged at once."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import click
from rich.table import Table

from inventory.questions import Question, check, questions
from vpnmesh.errors import InputError, UnknownNameError
from workflows.run.terminal import say


def given_answers(pairs: Iterable[str], asked: Sequence[Question]) -> dict[str, str]:
    """The answers in `KEY=VALUE`, by key; InputError where that is no such pair, or no such question."""
    known = [question.key for question in asked]
    answers: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError("--set", f"{pair[:80]!r} is no KEY=VALUE", "for example worker1.vlan=120")
        if key not in known:
            raise UnknownNameError("--set", "question", key, get_close_matches(key, known, 5) or known)
        answers[key] = value
    return answers


def ask(asked: Iterable[Question], given: Mapping[str, str], *, defaults: bool) -> dict[str, str]:
    """All answers: those given, those typed, or the defaults where nobody is asked.

    Raises InputError where a given answer or a default is wrong, or a person would have to be asked and none is there.
    """
    answers: dict[str, str] = {}
    for question in asked:
        if not question.asked(answers):
            continue
        answers[question.key] = _answer(question, answers, given.get(question.key), defaults=defaults)
    return answers


def _answer(question: Question, answers: Mapping[str, str], given: str | None, *, defaults: bool) -> str:
    if given is None and not defaults:
        return _typed(question, answers)
    answer = question.default(answers) if given is None else given
    check(question, answer, answers)
    return answer


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def _typed(question: Question, answers: Mapping[str, str]) -> str:
    """What a person types, until it is an answer."""
    if not is_terminal():
        raise InputError(
            question.key,
            "is not known, and nobody can be asked: stdin is no terminal",
            "give --set or --defaults",
        )
    while True:
        answer: str = click.prompt(question.text, default=question.default(answers))
        try:
            check(question, answer, answers)
        except InputError as error:
            say(f"  {error}", err=True)
        else:
            return answer


def question_table() -> Table:
    """Every question with its key and what it is without an answer, the ones before it being at their defaults."""
    table = Table("key", "question", "default")
    answers: dict[str, str] = {}
    for question in questions():
        answers[question.key] = question.default(answers)
        table.add_row(question.key, question.text, answers[question.key])
    return table
