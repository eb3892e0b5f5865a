"""`--cluster`: what it asks for, what it costs, and that runs with another one are told apart."""

from dataclasses import replace

import pytest

from vpnmesh.cluster import PODS, installer_named
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.model import Place, Placement, Testbed
from vpnmesh.report.identity import identity
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.profiles import PROFILES, profile_of_file
from vpnmesh.study.remarks import remarks
from vpnmesh.study.scenarios import scenario_named
from workflows.run import availability
from workflows.run.cluster import installer_of
from workflows.run.impair import check_place
from workflows.run.options import MatrixOptions
from workflows.run.site import Site


def test_pods_are_namespaces_unless_a_cluster_is_asked_for() -> None:
    """By option, or by a profile of one's own; a name that nobody knows lists those that there are."""
    assert installer_of(MatrixOptions().build()) is None
    asked = MatrixOptions(cluster="kubernetes").build()
    assert installer_of(asked) is installer_named("kubernetes")
    mine = profile_of_file(b"mine:\n  variant_of: quick\n  cluster: kubernetes\n", "mine.yaml")
    assert mine.cluster == "kubernetes"
    with pytest.raises(UnknownNameError, match=r"known are: pods, .*kubernetes"):
        installer_of(replace(asked, cluster="kubernets"))


def test_a_plan_knows_what_a_cluster_takes(bed: Testbed) -> None:
    """Every visit takes longer, and all else is as without it."""
    plain = plan_matrix(PROFILES["quick"], bed.pairs, seed=1)
    clustered = plan_matrix(
        replace(PROFILES["quick"], cluster="kubernetes", budget_min=None), bed.pairs, seed=1
    )
    longer_s = installer_named("kubernetes").visit_s * len(clustered.visits)
    assert clustered.switching_s == pytest.approx(
        plain.switching_s * len(clustered.visits) / len(plain.visits) + longer_s
    )


def test_a_plan_says_that_a_cluster_is_put_up(bed: Testbed) -> None:
    """Which one, and what a visit takes longer; of a run without one nothing is said."""
    profile = replace(PROFILES["quick"], cluster="kubernetes")
    (sentence,) = (one for one in remarks(plan_matrix(profile, bed.pairs, seed=1)) if "a cluster" in one)
    assert "(kubernetes)" in sentence
    assert f"{installer_named('kubernetes').visit_s:.0f} s more" in sentence
    assert "a cluster" not in "".join(remarks(plan_matrix(PROFILES["quick"], bed.pairs, seed=1)))


def test_what_pods_were_is_part_of_what_was_measured_on() -> None:
    """So runs are compared, and pooled, only with their like; one from before there was a choice had no cluster."""
    manifest = {"lab": {"kernel": "x"}, "engine": "netem"}
    assert identity(manifest)["substrate"] == identity({**manifest, "cluster": PODS})["substrate"]
    assert (
        identity({**manifest, "cluster": "kubernetes"})["substrate"]
        == "lab, pods of kubernetes, impaired by netem"
    )


@pytest.mark.parametrize("place", [Place.VXLAN, Place.POD])
def test_what_the_labs_engine_cannot_impair_in_a_cluster_is_refused(place: Place, bed: Testbed) -> None:
    """With what to do instead; netem can, and without a cluster both can."""
    cluster = Site(None, bed, installer=installer_named("kubernetes"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--placement underlay"):
        check_place(cluster, NfqueueEngine("/x"), Placement(place))
    check_place(cluster, NetemEngine(), Placement(place))
    check_place(cluster, NfqueueEngine("/x"), Placement(Place.UNDERLAY))
    check_place(replace(cluster, installer=None), NfqueueEngine("/x"), Placement(place))


def test_a_program_that_is_missing_is_told_with_the_way_to_it(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is up."""
    monkeypatch.setattr(availability, "SEARCH", "/nonexistent")
    installer = installer_named("kubernetes")
    (found,) = availability.on_this_machine(bed, [scenario_named("native-1450")], installer)
    assert "make kube" in found.reason
    assert "Debian package etcd-server" in found.reason
    assert availability.on_this_machine(bed, [scenario_named("native-1450")])[0].reason == ""
