"""What breaks and what becomes of it: declared once, held by tests, and written as docs/faults.md by this module.

`python -m tests.faults.table` writes the page. A reason is as a run prints it; `…` stands for what differs each time.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.study.journal import RepetitionEnded

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks at some moment of a run; `stage` and `reason` are of the rows that fail, "" where none do.

    For faults outside of repetitions `stage` is "" and `reason` the sentence of the command. `or_reason` is what is
    said instead where a VPN notices in time.
    """

    part: str
    what: str
    when: str
    outcome: str
    stage: str
    reason: str
    way_out: str
    test: str
    or_reason: str = ""

    def says(self, text: str) -> bool:
        """Whether that is the reason, or the other one that it may be, whatever stands for `…`."""
        found = " ".join(text.split())
        return any(re.fullmatch(_pattern(one), found) for one in (self.reason, self.or_reason) if one)

    def failed(self, row: RepetitionEnded) -> bool:
        """Whether the repetition failed of this, at the right stage and with the right reason."""
        return row.outcome == "failed" and row.stage == self.stage and self.says(str(row.reason))


def _pattern(reason: str) -> str:
    return ".*".join(re.escape(part) for part in reason.split("…"))


NODES = "tests/live/test_faults_nodes.py"
TOOLS = "tests/live/test_faults_tools.py"
VPNS = "tests/live/test_faults_vpns.py"
FILES = "tests/faults/test_fault_files.py"
CLOCK = "tests/faults/test_fault_clock.py"
LEASE = "tests/live/test_lease_live.py"

REBOOT = Fault(
    "node",
    "a node is reset and boots within some seconds",
    "during a repetition",
    "that repetition fails; the scenario is set up anew, everything else is measured",
    "node",
    "…worker2: no SSH: …",
    "nothing; a second failure like it in one visit is left as it is",
    f"{NODES}::test_a_node_that_boots_again_costs_one_repetition",
)
SSHD = Fault(
    "node",
    "its SSH server and all logins are killed, and the server started again",
    "during a repetition",
    "that repetition fails; the node is asked again for 20 s (a machine: 600 s), everything else is measured",
    "node",
    "…worker2: no SSH: …",
    "nothing",
    f"{NODES}::test_an_ssh_server_that_comes_back_costs_one_repetition",
)
DEAD = Fault(
    "node",
    "it answers nothing any more, not even with a refusal",
    "during a repetition, for good",
    "that repetition fails; the node is asked again for 20 s (a machine: 600 s), then every repetition that is left"
    " in the visit fails at once, and those of later visits as long as it stays silent",
    "node",
    "…worker2: no SSH: …",
    "repair the node; begin a new run for the scenarios that are lost",
    f"{NODES}::test_a_dead_node_costs_one_wait_and_not_one_per_repetition",
)
FLAP = Fault(
    "node",
    "its underlay interface goes down and up, with its routes",
    "during a repetition",
    "that repetition fails, though iperf3 came to an end; everything else is measured",
    "path",
    "path: worker2: the link of its underlay interface went away or came back meanwhile",
    "look at cable, switch port and driver",
    f"{NODES}::test_an_interface_that_flaps_gives_no_figure",
)
ROUTE = Fault(
    "node",
    "its routes to the other workers are lost",
    "during a repetition that sends nothing (`idle`)",
    "that repetition fails, for its load is no mesh's; what follows is measured once they are back",
    "path",
    "path: worker2's pod answers none of 35 pings of worker1's",
    "look at the node's routes (`ip route`)",
    f"{NODES}::test_a_path_that_is_lost_in_silence_gives_no_figure",
)
FULL_TMP = Fault(
    "node",
    "its /tmp is full",
    "while a repetition of iperf3 begins",
    "that repetition fails with iperf3's own words, odd as they are: it maps a file there for every stream; pings need"
    " none and are measured",
    "tool",
    "iperf3: … (worker2's server: failed to read /dev/urandom: Bad address)",
    "make room on the node",
    f"{NODES}::test_a_full_tmp_fails_what_needs_it",
)
FULL_VAR = Fault(
    "node",
    "its /var/lib is full",
    "while a VPN is installed there",
    "all cells of that scenario fail; other scenarios are measured, and nothing is left of it",
    "provision",
    "join_stage: worker2: …: exit 1: …no space left on device",
    "make room on the node",
    f"{NODES}::test_a_full_disk_fails_the_scenario_that_needs_it",
)
HUNG_SERVER = Fault(
    "tool",
    "iperf3's server hangs (SIGSTOP)",
    "during a TCP repetition",
    "that repetition fails; its server is killed, everything else is measured",
    "tool",
    "iperf3: not done after 10 s (worker1 asked worker2, whose server tells … s of 2 s)",
    "nothing",
    f"{TOOLS}::test_a_server_that_hangs_costs_its_repetition",
)
HUNG_UDP = Fault(
    "tool",
    "iperf3's server hangs (SIGSTOP)",
    "during a UDP repetition",
    "as with TCP",
    "tool",
    "iperf3: not done after 10 s (worker1 asked worker2, whose server tells … s of 2 s)",
    "nothing",
    f"{TOOLS}::test_a_server_that_hangs_costs_its_repetition",
)
DAEMON = Fault(
    "VPN",
    "its daemon on a worker is killed (SIGKILL)",
    "during a repetition",
    "that repetition fails, its daemons' logs are in raw/; the scenario is set up anew, everything else is measured",
    "path",
    "path: worker… reaches worker… not at all, wanted direct",
    "read the log below raw/SCENARIO/logs",
    f"{VPNS}::test_a_daemon_that_is_killed_costs_one_repetition",
)
RELAY = Fault(
    "VPN",
    "the relay's daemon is killed (SIGKILL)",
    "during a repetition of a relayed scenario",
    "as with a worker's daemon",
    "path",
    "path: worker2's pod answers none of 35 pings of worker1's",
    "read the log below raw/SCENARIO/logs",
    f"{VPNS}::test_a_relay_that_is_killed_costs_one_repetition",
    or_reason="path: worker… reaches worker… not at all, wanted relay",
)
CONTROL = Fault(
    "VPN",
    "its control plane is killed (SIGKILL)",
    "during a repetition on the direct path",
    "nothing fails: what is up goes on without it",
    "",
    "",
    "nothing",
    f"{VPNS}::test_a_control_plane_that_is_killed_costs_nothing",
)
FULL_RUN = Fault(
    "run directory",
    "its disk is full",
    "in the middle of a run",
    "the run ends with exit code 1, its nodes are left as they were; gone on with, nothing is lost and nothing"
    " measured twice",
    "",
    "error: …: No space left on device; make room, then go on with --resume …",
    "make room, then --resume",
    f"{TOOLS}::test_a_full_run_directory_ends_the_run_and_nothing_is_lost",
)
PART_OF_A_LINE = Fault(
    "run directory",
    "its disk takes a part of a journal line only",
    "while a repetition is written down",
    "the part is taken back, so that a later line stands alone",
    "",
    "…/journal.jsonl: No space left on device; make room, then go on with --resume …",
    "make room, then --resume",
    f"{FILES}::test_a_line_that_the_disk_took_in_part_is_taken_back",
)
READ_ONLY_START = Fault(
    "run directory",
    "its disk is read-only, or full",
    "at the start",
    "exit code 2, no node is changed",
    "",
    "--out: … cannot be made: Read-only file system",
    "name another place with --out",
    f"{FILES}::test_a_disk_that_takes_nothing_refuses_a_run_at_its_start",
)
READ_ONLY_END = Fault(
    "run directory",
    "its disk turns read-only",
    "at the end, before the tables are written",
    "the run ends with a sentence; every repetition is in the journal, and --resume makes the tables",
    "",
    "…/figures.parquet: Read-only file system; see to its disk, then go on with --resume …",
    "make the disk writable, then --resume",
    f"{FILES}::test_a_disk_that_takes_nothing_at_the_end_costs_no_row",
)
HALF_LINE = Fault(
    "run directory",
    "the journal's last line is half a line",
    "before --resume, or while a report is made",
    "that repetition is made again; reports have all others",
    "",
    "",
    "nothing",
    f"{FILES}::test_half_a_line_at_the_end_is_no_attempt",
)
BROKEN_LINE = Fault(
    "run directory",
    "a line in the middle of the journal is cut",
    "before --resume, or while a report is made",
    "exit code 2, neither gone on with nor reported",
    "",
    "…/journal.jsonl: line 2: no JSON: …; this is no run of this version",
    "take the line out, if you know what it was: its repetition is then made again",
    f"{FILES}::test_a_cut_line_in_the_middle_is_named",
)
CUT_MANIFEST = Fault(
    "run directory",
    "the manifest is cut off",
    "before --resume, or while a report is made",
    "exit code 2",
    "",
    "…/manifest.json: no JSON: …",
    "get it back from a copy: without it nobody knows what was asked",
    f"{FILES}::test_a_cut_manifest_is_named",
)
CUT_TABLE = Fault(
    "run directory",
    "results.parquet and figures.parquet are cut off",
    "before --resume, or while a report is made",
    "nothing: both are made from the journal again",
    "",
    "",
    "nothing",
    f"{FILES}::test_a_cut_table_is_made_again_from_the_journal",
)
CUT_TABLE_ALONE = Fault(
    "run directory",
    "a table is cut off where there is no journal (a copy of the table alone)",
    "while a report is made",
    "exit code 2",
    "",
    "…results.parquet: is no parquet file, or a part of one: …; take it away, or let whatever made it make it again",
    "copy it again",
    f"{FILES}::test_a_cut_table_without_a_journal_is_named",
)
CLOCK_STEP = Fault(
    "controller",
    "its clock is stepped by hours, forwards and back",
    "between the repetitions of a session",
    "nothing: times go on from the session's start, in order, and CPU is counted by each node's own uptime",
    "",
    "",
    "nothing",
    f"{CLOCK}::test_a_clock_that_is_stepped_moves_no_time_stamp",
)

STOPPED = Fault(
    "controller",
    "it is stopped (SIGSTOP), for less than its lease (`--lease`, 900 s)",
    "during a repetition",
    "nothing: it finds all as it was and goes on",
    "",
    "",
    "nothing",
    f"{LEASE}::test_a_stopped_controller_goes_on_or_says_what_it_lost",
)
STOPPED_TOO_LONG = Fault(
    "controller",
    "it is stopped (SIGSTOP), for longer than its lease",
    "during a repetition",
    "the nodes undo all by themselves; the rest of the visit fails, the next claims the nodes again and is measured",
    "lease",
    "…undone by itself…",
    "a longer `--lease` where controllers sleep",
    f"{LEASE}::test_a_stopped_controller_goes_on_or_says_what_it_lost",
)
KILLED = Fault(
    "controller",
    "it is killed (SIGKILL)",
    "while a scenario is up and impaired",
    "the nodes are held against other runs, and undo all by themselves once the lease is over; --resume takes them"
    " back",
    "",
    "",
    "--resume, or `vpnmesh teardown`",
    f"{LEASE}::test_a_killed_controllers_nodes_clean_themselves",
)
TWO = Fault(
    "controller",
    "a second one begins a run on the same nodes",
    "during a repetition",
    "the second is refused before it changes anything, exit code 2 and no run directory; the first goes on",
    "",
    "error: …: is held by run … of …@… (process …), since …",
    "wait for that run, or take away what a dead one left: `vpnmesh teardown`",
    f"{LEASE}::test_a_stopped_controller_goes_on_or_says_what_it_lost",
)

FAULTS: tuple[Fault, ...] = tuple(one for one in list(globals().values()) if isinstance(one, Fault))

_HEAD = """\
# What breaks a run, and what becomes of it?

Every row is held by a test that breaks exactly this on purpose, on the lab or on files, and then looks at
everything that the run has left: the rows that must fail have failed at that stage and with that reason, all
others are measured, every figure is what its raw files say and within what the ports allow, the run can be gone
on with, and nothing stays on a node that no complaint names.

A repetition that fails has no figure, whatever its tool printed. The one after it begins with all checks made
anew. Where these say that the scenario stands no more (an interface, a pod or a path is missing), it is taken
off and set up once more in the same visit, which the journal has as a second `visit` line with the reason
(`again`); a second time it is left as it is found. A node that does not answer is waited for 20 s, a
machine (`metal`, `vm`) 600 s. While it stays silent it is asked less and less, every 30 s in the end, and in
between its last answer counts: a dead node costs a run few timeouts, and not one for every step of every repetition.

`…` stands for what differs each time. This page is written by `python -m tests.faults.table`; do not change it
by hand.
"""


def page(faults: Iterable[Fault] = FAULTS) -> str:
    """docs/faults.md as a whole."""
    parts: dict[str, list[Fault]] = {}
    for fault in faults:
        parts.setdefault(fault.part, []).append(fault)
    return "\n".join([_HEAD, *(_section(part, found) for part, found in parts.items())])


def _section(part: str, faults: Iterable[Fault]) -> str:
    head = (
        "| what breaks | when | what becomes of it | stage | reason, as printed | what to do |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    return "\n".join([f"## {part[0].upper()}{part[1:]}", "", *head, *(_line(fault) for fault in faults), ""])


def _line(fault: Fault) -> str:
    reason = " or ".join(f"`{one}`" for one in (fault.reason, fault.or_reason) if one)
    stage = f"`{fault.stage}`" if fault.stage else ""
    cells = (fault.what, fault.when, fault.outcome, stage, reason, fault.way_out)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page())
