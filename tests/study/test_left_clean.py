"""What a run's manifest knows of what its sessions left on the nodes."""

from vpnmesh.study.manifest import Manifest, RunSession

OWN = {"worker1": {"net.core.rmem_max": "212992"}}
OURS = {"worker1": {"net.core.rmem_max": "26214400"}}
FOUND = {"worker1": {"rules": ["0: from all"]}}
KILLED = RunSession(sysctls_before=OWN, sysctls_restored=False, footprint_before=FOUND)
ENDED = RunSession(
    sysctls_before=OURS, sysctls_restored=True, footprint_after=FOUND, footprint_differences=[]
)


def run(*sessions: RunSession) -> Manifest:
    """A run of these sessions."""
    return Manifest(sessions=list(sessions))


def test_the_earliest_settings_are_the_nodes_own() -> None:
    """A session after a kill finds ours, and must not take them for the nodes' own."""
    again = KILLED.with_entries({"sysctls_before": OURS})
    assert run(KILLED, again).former_sysctls == OWN
    assert run(KILLED, ENDED).former_sysctls == {}
    assert run(KILLED.with_entries({"cleaned_at": "now"}), again).former_sysctls == OURS


def test_a_session_that_was_killed_left_something() -> None:
    """Until a later one, or a teardown, has cleaned up."""
    now = RunSession()
    assert run(KILLED, now).not_left_clean == [KILLED]
    assert run(KILLED, ENDED, now).not_left_clean == []
    assert run(KILLED.with_entries({"cleaned_at": "now"}), now).not_left_clean == []
    assert run(now).not_left_clean == []
    assert [run(*ones).left_nothing for ones in ((), (ENDED,), (KILLED,), (KILLED, ENDED))] == [
        *(True, True, False, True)
    ]


def test_a_node_that_is_not_as_it_was_is_something_left() -> None:
    """Also where the settings were set back."""
    differs = ENDED.with_entries({"footprint_differences": ["worker1: rules: left behind: 100: from all"]})
    assert not run(differs).left_nothing


def test_a_run_of_an_earlier_version_is_judged_by_its_footprint() -> None:
    """It set its settings back at the end, and did not write that down."""
    earlier = RunSession(sysctls_before=OWN, footprint_after=FOUND, footprint_differences=[])
    assert run(earlier).left_nothing
