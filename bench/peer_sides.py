"""The two sides of `bench.peers` that are Python: our tasks, and a thread pool over bare paramiko.

Each runs in a process of its own (`python -m bench.peer_sides SIDE FOLDER HOSTS`) and does both passes over the same
connections, as one run of ours does. Both log in as root with strict host keys, run the same commands, and write the
same file only where it differs.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import paramiko

from bench.farm import Farm, addresses_of
from bench.farm_inventory import write_farm_inventory
from bench.farm_work import COMMANDS, GUARDED, text_for
from bench.figures import processor_s

Pass = Callable[[], Iterable[str]]
Login = tuple[paramiko.SSHClient, paramiko.SFTPClient]


def vpnmesh(here: Farm) -> Pass:
    """Our tasks through the Nornir that `inventory.load` makes, as every command of ours has it."""
    from bench.guarded import guarded_file  # noqa: PLC0415 - each side loads only what it measures
    from inventory.load import load  # noqa: PLC0415
    from workflows.run.hosts import run_on  # noqa: PLC0415

    nr, _ = load(str(write_farm_inventory(here)))
    return lambda: run_on(nr, here.addresses, guarded_file)


def bare_paramiko(here: Farm) -> Pass:
    """An exec channel per command, SFTP for the file: what a script does with no other library."""
    known = paramiko.HostKeys(str(here.known_hosts))
    pool, held = ThreadPoolExecutor(len(here.addresses)), dict[str, Login]()

    def one(name: str) -> str:
        if name not in held:
            held[name] = _login(here, known, name)
        client, sftp = held[name]
        for argv in COMMANDS:
            _, stdout, _ = client.exec_command(" ".join(argv), timeout=60)
            if not stdout.read() or stdout.channel.recv_exit_status():
                raise OSError(f"{name}: {argv} failed")
        if _read(sftp) != text_for(name):
            with sftp.open(GUARDED, "w") as file:
                file.write(text_for(name))
        return name

    return lambda: list(pool.map(one, here.addresses))


def _login(here: Farm, known: paramiko.HostKeys, name: str) -> Login:
    client = paramiko.SSHClient()
    client.get_host_keys().update(known)
    address, key = here.addresses[name], str(here.key)
    client.connect(
        address, username="root", key_filename=key, allow_agent=False, look_for_keys=False, timeout=60
    )
    return client, client.open_sftp()


def _read(sftp: paramiko.SFTPClient) -> str | None:
    try:
        with sftp.open(GUARDED) as file:
            return file.read().decode()
    except FileNotFoundError:
        return None


SIDES: Mapping[str, Callable[[Farm], Pass]] = {side.__name__: side for side in (vpnmesh, bare_paramiko)}


def main(side: str, folder: str, count: str) -> None:
    """Do both passes and print what each took, in seconds by the clock and of processor time."""
    here = Farm(Path(folder), addresses_of(int(count)))
    one_pass = SIDES[side](here)
    timings = [_timed(partial(_checked, one_pass, here)) for _ in range(2)]
    sys.stdout.write(json.dumps(timings))
    sys.stdout.flush()
    # connections end with the process: saying goodbye on each is no part of what is measured
    os._exit(0)


def _timed(one_pass: Callable[[], None]) -> tuple[float, float]:
    begun, used = time.monotonic(), processor_s()
    one_pass()
    return time.monotonic() - begun, processor_s() - used


def _checked(one_pass: Pass, here: Farm) -> None:
    if set(one_pass()) != set(here.addresses):
        raise OSError("not every host answered")


if __name__ == "__main__":
    main(*sys.argv[1:])
