"""The controller of `bench.hosts`, a process of its own: `python -m bench.hosts_side FOLDER HOSTS` prints JSON."""

import json
import sys
import threading
import time
from pathlib import Path

from bench.farm import Farm, addresses_of
from bench.farm_inventory import write_farm_inventory
from bench.figures import peak_mb, processor_s
from bench.guarded import guarded_file
from inventory.load import load
from workflows.run.hosts import run_on

IDLE_S = 5.0


def main(folder: str, count: str) -> None:
    """Both passes, then nothing for some seconds with all connections open, then close them."""
    here = Farm(Path(folder), addresses_of(int(count)))
    nr, _ = load(str(write_farm_inventory(here)))
    before_mb = peak_mb()
    passes = []
    for expected in (True, False):
        begun, used = time.monotonic(), processor_s()
        done = run_on(nr, here.addresses, guarded_file)
        passes.append((time.monotonic() - begun, processor_s() - used))
        if {result.changed for result in done.values()} != {expected}:
            raise OSError(f"changed should be {expected} on every host")
    threads, files = threading.active_count(), sum(1 for _ in Path("/proc/self/fd").iterdir())
    used = processor_s()
    time.sleep(IDLE_S)
    idle_pct = (processor_s() - used) / IDLE_S * 100
    begun = time.monotonic()
    nr.close_connections()
    found = {
        "hosts": len(here.addresses),
        "passes_s": [seconds for seconds, _ in passes],
        "processor_s": [seconds for _, seconds in passes],
        "idle_pct": idle_pct,
        "memory_mb": peak_mb() - before_mb,
        "threads": threads,
        "files": files,
        "close_s": time.monotonic() - begun,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
