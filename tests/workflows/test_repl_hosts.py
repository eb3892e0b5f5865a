"""The prompt with hosts that are no testbed: they need neither roles nor VLANs."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from nornir.core import Nornir

from inventory.load import load
from inventory.runner import BoundedRunner
from vpnmesh.errors import InputError
from workflows import repl


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    """Three hosts with an address each, and nothing else."""
    hosts = "".join(f"h{number}: {{hostname: 192.0.2.{number}}}\n" for number in range(1, 4))
    for name, text in (("hosts", hosts), ("groups", "{}\n"), ("defaults", "{username: root}\n")):
        (tmp_path / f"{name}.yaml").write_text(text)
    return str(tmp_path)


def test_any_hosts_do(fleet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the banner promises is there; without the option the inventory is refused with the role that lacks."""
    seen: dict[str, object] = {}
    monkeypatch.setattr(repl, "prompt", lambda names, banner: seen.update(names, banner=banner))
    done = CliRunner().invoke(repl.main, ["--inventory", fleet, "--hosts-only"])
    assert done.exit_code == 0, done.output
    nr = seen["nr"]
    assert isinstance(nr, Nornir)
    assert isinstance(nr.runner, BoundedRunner)
    assert {"run_on", "within", "tasks", "F", "print_result"} <= seen.keys()
    assert "3 hosts" in str(seen["banner"])
    with pytest.raises(InputError, match="missing role"):
        load(fleet)


def test_an_inventory_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """As without the option: one sentence, exit code 2."""
    done = CliRunner().invoke(repl.main, ["--inventory", str(tmp_path), "--hosts-only"])
    assert done.exit_code == 2
    assert "hosts.yaml" in done.output
