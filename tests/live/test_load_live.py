"""The sampler on real processes: what it counts is what the kernel charged them."""

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from vpnmesh.model import NodeKind
from vpnmesh.tools import load

pytestmark = pytest.mark.live

BURN = "import time\nwhile time.process_time() < {seconds}: pass"
# arguments: the file for the samples, and the sampler's argv. Burns a core in a child, then in a child's child, and
# rests before, between and after until a whole sample was taken, whose number it prints
STORY = r"""
samples=$1; shift
"$@" > "$samples" & sampler=$!
rest() {
  number=$(($(grep -c @end "$samples") + 2))
  until [ "$(grep -c @end "$samples")" -gt $number ]; do sleep 0.1; done
  echo $number
}
rest
"$PYTHON" -c "$CHILD"
rest
sh -c '"$PYTHON" -c "$CHILD"; true' & wait $!
rest
kill $sampler; wait $sampler 2> /dev/null; true
"""


@dataclass(frozen=True, slots=True)
class Told:
    """Samples of a PID namespace, the indices of those at rest, and all CPU seconds that it was charged."""

    samples: list[str]
    rests: list[int]
    charged_s: float


def story(seconds: float, file: Path) -> Told:
    """Two processes that burn a core for so long, one after the other."""
    argv = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", STORY, "sh", str(file))
    environment = {**os.environ, "PYTHON": sys.executable, "CHILD": BURN.format(seconds=seconds)}
    process = subprocess.Popen(
        (*argv, *load.sampler("lo", 0.25)), stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    with process.stdout:
        rests = [int(number) - 1 for number in process.stdout.read().split()]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Told(file.read_text().split("@sample")[1:], rests, usage.ru_utime + usage.ru_stime)


def counted_s(parts: list[str]) -> float:
    """CPU seconds between the first and the last of these samples, as the parser has them."""
    raw = "".join(f"@sample{part}" for part in parts)
    first, last = (float(parts[end].split()[0]) for end in (0, -1))
    return load.parse(raw, NodeKind.NETNS, [], window_s=last - first).cpu_pct / 100 * (last - first)


def test_cpu_is_what_the_kernel_charged(root: None, tmp_path: Path) -> None:
    """Children that burn and end: the whole is the namespace's own rusage, and so is the sum of its two halves.

    A child that ends while a sample is taken may be missing in it, with its parent not yet charged: only samples at
    rest have ends to count between.
    """
    del root
    told = story(1.5, tmp_path / "samples")
    first, middle, last = told.rests
    assert told.charged_s >= 3.0
    whole_s = counted_s(told.samples[first : last + 1])
    assert abs(whole_s - told.charged_s) < 0.15 * told.charged_s
    halves_s = [
        counted_s(told.samples[begin : end + 1]) for begin, end in itertools.pairwise((first, middle, last))
    ]
    assert min(halves_s) >= 1.4
    assert abs(sum(halves_s) - whole_s) < 0.1 * told.charged_s
