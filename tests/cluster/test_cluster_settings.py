"""Kernel settings that a cluster wants: set, kept as they were, and set again at the end."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vpnmesh.cluster import settings
from vpnmesh.lab.stand_in_settings import WANTED
from vpnmesh.plan import Command, Completed, Plan

VALUES = {"kernel.panic": "10", "vm.overcommit_memory": "1"}


def answers(commands: Sequence[Command], panic: str) -> list[Completed]:
    """What a node says whose `kernel.panic` is that; all else is as a cluster wants it."""
    now = {**VALUES, "kernel.panic": panic}
    asked = [Completed(one.argv, 0, now[one.argv[-1]], "") for one in commands[:-1]]
    text = "".join(f"{key} = {value}\n" for key, value in now.items())
    return [*asked, Completed(commands[-1].argv, 0, text, "")]


def test_nothing_is_set_or_kept_where_all_is_as_wanted() -> None:
    """As in a lab's nodes, which show kubelet what it wants."""
    fact = settings.held(VALUES, "/nowhere")
    assert fact.parse(answers(fact.commands, "10")) == Plan()
    assert set(WANTED) == {f"/proc/sys/{key.replace('.', '/')}" for key in settings.KUBELET}


def test_what_was_there_is_kept_once_and_set_again(tmp_path: Path) -> None:
    """The first values count, also when the stage runs again after an interruption."""
    file, fact = tmp_path / "kept" / "sysctls", settings.held(VALUES, str(tmp_path / "kept" / "sysctls"))
    for panic in ("0", "5"):
        keep, *others = fact.parse(answers(fact.commands, panic)).steps
        assert isinstance(keep, Command)
        subprocess.run(keep.argv, input=str(keep.stdin), text=True, check=True)
        assert others == [Command(("sysctl", "-q", "-w", "kernel.panic=10"))]
    assert file.read_text() == "kernel.panic=0\nvm.overcommit_memory=1\n"
    program = tmp_path / "sysctl"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/set\n')
    program.chmod(0o755)
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(settings.restored(str(file)).argv, env=path, check=True)
    subprocess.run(settings.restored(str(tmp_path / "none")).argv, env=path, check=True)
    assert (tmp_path / "set").read_text() == "-q -w kernel.panic=0\n-q -w vm.overcommit_memory=1\n"
