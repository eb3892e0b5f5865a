"""A task as it is ordered from a worker: by its name there, with its parameters as plain values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from platform import python_version_tuple
from typing import Any

from nornir.core import Nornir
from nornir.core.configuration import Config
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.processor import Processors
from nornir.core.state import GlobalState
from nornir.core.task import MultiResult, Task

from inventory.across.parcel import CannotTravelError, Seal
from inventory.lines import Turn
from inventory.runner import BoundedRunner, start_turn
from vpnmesh.errors import InputError, VpnmeshError

WAY_OUT = "pass plain values, or run it without Dask workers"


def release() -> str:
    """What controller and workers must have in common, or they would mean different things by the same names."""
    return f"vpnmesh {version('vpnmesh')} on Python {'.'.join(python_version_tuple()[:2])}"


@dataclass(frozen=True, slots=True)
class Order:
    """What all hosts of one run share."""

    task: str
    name: str
    parameters: Mapping[str, object]
    dry_run: bool
    severity_level: int
    release: str

    @classmethod
    def of(cls, task: Task) -> "Order":
        """The order of a Nornir task."""
        name = f"{task.task.__module__}:{task.task.__qualname__}"
        return cls(name, task.name, task.params, task.global_dry_run, task.severity_level, release())

    @property
    def package(self) -> str:
        """The package that the task is of; values of its classes may come back."""
        return self.task.partition(":")[0].partition(".")[0]

    def packed(self, seal: Seal, function: Callable[..., Any]) -> bytes:
        """The order as a parcel; InputError names task and parameter that cannot be sent, and why."""
        try:
            seal.pack(function)
            return seal.pack(self)
        except CannotTravelError as error:
            raise self._refusal(seal, error) from error

    def _refusal(self, seal: Seal, error: CannotTravelError) -> InputError:
        for key, value in self.parameters.items():
            try:
                seal.pack(value)
            except CannotTravelError as found:
                return InputError(f"{self.name}: {key}", f"{found.reason}, which no worker can use", WAY_OUT)
        return InputError(f"{self.name}: the task", error.reason, "define it at the top of a module")

    def function(self) -> Callable[..., Any]:
        """The task's function, where a worker has it; VpnmeshError where it has another release, or no such task."""
        if self.release != release():
            raise VpnmeshError(f"the controller is {self.release}, this worker {release()}; install the same")
        module, _, name = self.task.partition(":")
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise VpnmeshError(f"this worker has no task {self.task} ({error}); install the same") from error
        function: Callable[..., Any] = found
        return function

    def run(self, turn: Turn, runner: BoundedRunner) -> MultiResult:
        """Run the task on the worker's own host, whose turn it is."""
        task = Task(
            self.function(),
            nornir_of(turn.host, runner),
            self.dry_run,
            Processors(),
            self.name,
            self.severity_level,
            **self.parameters,  # type: ignore[arg-type]  # Nornir calls every parameter a text
        )
        return start_turn(task, turn, runner)


def nornir_of(host: Host, runner: BoundedRunner) -> Nornir:
    """What a task sees as its Nornir on a worker: its own host, and Nornir's configuration."""
    inventory = Inventory(hosts=Hosts({host.name: host}), groups=Groups(), defaults=Defaults())
    return Nornir(inventory, Config(), GlobalState(), runner=runner)
