"""The sampler on real processes: what it counts is what the kernel charged them."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vpnmesh.model import NodeKind
from vpnmesh.tools import load

pytestmark = pytest.mark.live

BURN = "import time\nwhile time.process_time() < {seconds}: pass"
# arguments: the file for the samples, and the sampler's argv. Burns a core in a child (and in its child), with two
# whole samples before, between and after, however long the machine takes over them
STORY = r"""
samples=$1; shift
"$@" > "$samples" & sampler=$!
rest() { have=$(grep -c @end "$samples"); until [ "$(grep -c @end "$samples")" -ge $((have + 3)) ]; do sleep 0.1; done; }
rest
"$PYTHON" -c "$CHILD"
rest
sh -c '"$PYTHON" -c "$CHILD"; true' & wait $!
rest
kill $sampler; wait $sampler 2> /dev/null; true
"""


def story(seconds: float, samples: Path) -> tuple[str, float]:
    """The samples of a PID namespace in which two processes burn a core, and all CPU seconds it was charged."""
    argv = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", STORY, "sh", str(samples))
    environment = {**os.environ, "PYTHON": sys.executable, "CHILD": BURN.format(seconds=seconds)}
    process = subprocess.Popen((*argv, *load.sampler("lo", 0.25)), env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return samples.read_text(), usage.ru_utime + usage.ru_stime


def counted_s(parts: list[str]) -> float:
    """CPU seconds between the first and the last of these samples, as the parser has them."""
    raw = "".join(f"@sample{part}" for part in parts)
    first, last = (float(parts[end].split()[0]) for end in (0, -1))
    return load.parse(raw, NodeKind.NETNS, [], window_s=last - first).cpu_pct / 100 * (last - first)


def test_cpu_is_what_the_kernel_charged(root: None, tmp_path: Path) -> None:
    """Children that burn and end: the whole is the namespace's own rusage, and so is the sum of all its parts."""
    del root
    raw, charged_s = story(1.5, tmp_path / "samples")
    samples = raw.split("@sample")[1:-1]
    assert charged_s >= 3.0
    assert len(samples) > 8
    whole_s = counted_s(samples)
    assert abs(whole_s - charged_s) < 0.15 * charged_s
    steps_s = sum(counted_s(list(pair)) for pair in itertools.pairwise(samples))
    assert abs(steps_s - whole_s) < 0.1 * charged_s
