"""Hundreds of threads ask for the interpreter less often; nobody else's setting changes."""

import sys
import threading
from collections.abc import Iterator

import pytest
from nornir.core import Nornir
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.task import Result, Task

from inventory.patience import MANY, SWITCH_S, patient_threads
from inventory.runner import BoundedRunner


@pytest.fixture(autouse=True)
def before_s() -> Iterator[float]:
    found = sys.getswitchinterval()
    yield found
    assert sys.getswitchinterval() == pytest.approx(found)


def switch(task: Task) -> Result:
    return Result(task.host, sys.getswitchinterval())


def seen_on(hosts: int, workers: int | None = None) -> float:
    """What the tasks of a run on so many hosts found set."""
    inventory = Inventory(Hosts({f"h{one}": Host(f"h{one}") for one in range(hosts)}), Groups(), Defaults())
    done = Nornir(inventory, runner=BoundedRunner(workers)).run(switch)
    (seen_s,) = {results[0].result for results in done.values()}
    return float(seen_s)


def test_a_run_with_many_threads_is_patient_while_it_lasts() -> None:
    assert seen_on(MANY) == pytest.approx(SWITCH_S)


def test_a_run_with_few_threads_changes_nothing(before_s: float) -> None:
    """Few hosts, or many hosts with few threads: a run that measures on its testbed is one."""
    assert seen_on(MANY - 1) == pytest.approx(before_s)
    assert seen_on(2 * MANY, workers=3) == pytest.approx(before_s)


def test_it_ends_with_the_last_that_wants_it(before_s: float) -> None:
    """Two runs beside each other, of which the first to begin is the first to end; also where one breaks."""
    began, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with patient_threads(MANY):
            began.set()
            go_on.wait(10)

    thread = threading.Thread(target=other)

    def breaks() -> None:
        with patient_threads(MANY):
            thread.start()
            assert began.wait(10)
            raise OSError("broke")

    with pytest.raises(OSError, match="broke"):
        breaks()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    go_on.set()
    thread.join(10)
    assert sys.getswitchinterval() == pytest.approx(before_s)


def test_who_set_more_keeps_it(before_s: float) -> None:
    sys.setswitchinterval(0.5)
    try:
        assert seen_on(MANY) == pytest.approx(0.5)
        assert sys.getswitchinterval() == pytest.approx(0.5)
    finally:
        sys.setswitchinterval(before_s)
