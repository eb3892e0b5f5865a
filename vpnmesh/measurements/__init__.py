"""One module per kind of test: what it asks of the nodes, and what the answers mean; found by name."""

from vpnmesh.measurements.protocol import Figure, Measurement
from vpnmesh.registry import Registry

MEASUREMENTS: Registry[Measurement] = Registry(
    __name__, "MEASUREMENT", "vpnmesh.measurements", Measurement, word="test"
)
"""What `--tests` may name. A new kind is one module of this package, or an entry point of this group."""


def measurement_named(name: str, place: str = "test") -> Measurement:
    """The kind of test of that name; UnknownNameError lists the known ones. `place` is where the name was written."""
    return MEASUREMENTS.named(name, place)


def figure_named(test: str, name: str) -> Figure | None:
    """What a test declares of its figure; None for a test or a figure that nobody here knows."""
    measurement = MEASUREMENTS.get(test)
    figures = measurement.figures if measurement else ()
    return next((figure for figure in figures if figure.name == name), None)
