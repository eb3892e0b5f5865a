"""A run whose packets were forwarded by virtual machines says so: the paper forwards on bare metal only."""

import html
import json
from dataclasses import replace
from pathlib import Path

import pytest

from inventory.load import load
from tests.report.test_runs import line, rate, report, run
from vpnmesh.model import NodeKind
from vpnmesh.study.profiles import PROFILES
from workflows.run import provenance


@pytest.mark.parametrize("allowed", [True, False])
def test_forwarding_on_virtual_machines_is_on_the_page(tmp_path: Path, allowed: bool) -> None:  # noqa: FBT001
    """A run that `allow_virtual_forwarding` let onto VMs names them on the first screen and in Table 2."""
    bed = load("lab")[1]
    kinds = {"worker1": NodeKind.VM, "relay": NodeKind.VM, "hypervisor": NodeKind.VM}
    nodes = tuple(replace(node, kind=kinds.get(node.name, NodeKind.METAL)) for node in bed.nodes)
    virtual = replace(bed, nodes=nodes, allow_virtual_forwarding=allowed)
    folder = run(tmp_path / "run", [line("native-1450", "tcp", rate(900.0))])
    asked = provenance.request(PROFILES["quick"], 1, "mine", virtual)
    (folder / "manifest.json").write_text(json.dumps(asked.entries()))
    done = report(folder, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    words = "allow_virtual_forwarding is set; on a VM: worker1, relay"
    first_screen = page.partition("<main")[0]
    environment = page.partition('<section id="environment"')[2].partition("</section>")[0]
    assert "Seed" in environment
    assert [words in first_screen, words in environment] == [allowed, allowed]
