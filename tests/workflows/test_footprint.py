"""What a run left is said; what could not be read is never called nothing."""

from tasks.provenance import footprint_lines
from vpnmesh.plan import Completed
from workflows.run.provenance import compare_footprints


def test_a_question_that_failed_is_no_empty_answer() -> None:
    """Exit code 1 is the program's own words; 127 is a program that is not there, and so left nothing."""
    assert footprint_lines(Completed((), 0, "b\na", "")) == ["a", "b"]
    assert footprint_lines(Completed((), 127, "", "nft: not found")) == [""]
    assert footprint_lines(Completed((), 1, "", "x\nOperation not permitted\n")) == [
        "could not be read: Operation not permitted"
    ]
    assert footprint_lines(Completed((), 2, "", "")) == ["could not be read: exit 2"]


def test_what_was_not_read_after_a_run_is_said() -> None:
    """Unread before and after would be equal, and prove nothing."""
    unread = {"a": {"firewall": ["could not be read: denied"], "routes": ["x"]}}
    words = "a: firewall: could not be read: denied: nobody can say whether something was left behind"
    assert compare_footprints(unread, unread) == [words]
    clean = {"a": {"firewall": ["table t"], "routes": ["x"]}}
    assert compare_footprints(clean, unread) == compare_footprints(unread, clean) == [words]
    assert compare_footprints(clean, clean) == []
    more = {"a": {"firewall": ["table t", "table u"], "routes": []}}
    assert compare_footprints(clean, more) == [
        "a: firewall: left behind: table u",
        "a: routes: gone: x",
    ]
