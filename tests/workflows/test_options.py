"""What the command line says becomes a profile; what it says wrong is one sentence with the right words."""

import errno
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.model import Condition, End, Place, Placement
from vpnmesh.study.profile import OwnRules
from vpnmesh.study.profiles import PROFILES, parse_placement
from vpnmesh.study.scenarios import PAPER_SCENARIOS
from workflows.run.options import MatrixOptions, bad_input_exits_2, split

QUICK, PAPER = PROFILES["quick"], PROFILES["paper"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("vxlan", Placement(Place.VXLAN, End.CLIENT, None)),
        ("underlay:both", Placement(Place.UNDERLAY, End.BOTH, None)),
        ("underlay:client:1000", Placement(Place.UNDERLAY, End.CLIENT, 1000)),
        ("pod:server:auto", Placement(Place.POD, End.SERVER, None)),
        ("vlan-pair::77", Placement(Place.VLAN_PAIR, End.CLIENT, 77)),
    ],
)
def test_placements(text: str, wanted: Placement) -> None:
    """PLACE[:END][:LIMIT]; what is left out is the default's."""
    assert wanted == parse_placement(text, Placement())


def test_a_placement_keeps_the_profiles_own_end_and_limit() -> None:
    """Only `auto` takes a profile's fixed limit away."""
    default = Placement(Place.UNDERLAY, End.SERVER, 1000)
    assert Placement(Place.POD, End.SERVER, 1000) == parse_placement("pod", default)
    assert Placement(Place.POD, End.SERVER, None) == parse_placement("pod::auto", default)


@pytest.mark.parametrize("text", ["", "cable", "vxlan:middle", "vxlan:client:many", ":client", "Underlay"])
def test_a_wrong_placement_lists_the_right_ones(text: str) -> None:
    """Places, ends and what a limit may be."""
    with pytest.raises(InputError) as caught:
        parse_placement(text, Placement())
    said = str(caught.value)
    assert f"'{text}' is not PLACE[:END][:LIMIT]" in said
    assert all(word in said for word in (*Place, *End, "auto"))


def test_no_option_is_the_profile_itself() -> None:
    """The adaptive profile is the default."""
    assert MatrixOptions().build() == PROFILES["adaptive"]
    assert MatrixOptions(profile="quick").build() == QUICK
    assert MatrixOptions(profile="paper").build() == PAPER


def test_options_change_what_they_name() -> None:
    """Repetitions count for clean and impaired cells alike; everything else stays."""
    options = MatrixOptions(
        profile="paper", tests="udp,tcp,udp", conditions="loss-5pct,none", repetitions=7, duration=9, blocks=3
    )
    wanted = replace(
        PAPER,
        tests=("udp", "tcp"),
        conditions=(Condition(loss_pct=5), Condition()),
        conditions_asked=True,
        repetitions_clean=7,
        repetitions_impaired=7,
        duration_s=9,
        blocks=3,
        own={test: OwnRules(None, (Condition(),)) for test in ("api", "api-hey")},
    )
    assert wanted == options.build()


def test_pairs_are_the_profiles_and_cost_time() -> None:
    """More pairs than its own take a profile's budget away; the paper's pair does not."""
    asked = MatrixOptions("quick", pairs="sample:3").build()
    assert (str(asked.pairs), asked.budget_min) == ("sample:3", None)
    assert MatrixOptions("quick", pairs="fixed").build() == QUICK


def test_scenarios_stand_in_the_studys_order_whatever_is_typed() -> None:
    """Twice the same is once."""
    built = MatrixOptions(scenarios=" nebula-relay, native-1450,,nebula-relay").build()
    assert built.scenarios == ("native-1450", "nebula-relay")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (MatrixOptions(profile="quick"), QUICK.budget_min),
        (MatrixOptions(profile="quick", scenarios="native-1450"), 2.5),
        (MatrixOptions(profile="quick", scenarios=",".join(PAPER_SCENARIOS)), 20.0),
        (MatrixOptions(), 12),
        (MatrixOptions(scenarios="native-1450", tests="tcp"), 12),
        (MatrixOptions(precision=5), None),
        (MatrixOptions(repetitions=7), None),
        (MatrixOptions(scenarios="native-1450", budget=3.5), 3.5),
        (MatrixOptions(profile="paper"), None),
        (MatrixOptions(profile="paper", scenarios="native-1450"), None),
        (MatrixOptions(profile="paper", budget=60), 60),
    ],
)
def test_budgets(options: MatrixOptions, wanted: float | None) -> None:
    """Two and a half minutes a scenario in the quick profile; what is asked for counts; the paper has none."""
    assert wanted == options.build().budget_min


@pytest.mark.parametrize(
    ("options", "place", "known"),
    [
        (MatrixOptions(profile="slow"), "--profile", "quick"),
        (MatrixOptions(scenarios="native-1450,native-9000"), "--scenarios", "native-1450"),
        (MatrixOptions(tests="tcp,sctp"), "--tests", "udp"),
    ],
)
def test_an_unknown_name_lists_the_right_ones(options: MatrixOptions, place: str, known: str) -> None:
    """Where it was written, and what could be."""
    with pytest.raises(UnknownNameError) as caught:
        options.build()
    assert caught.value.place == place
    assert known in caught.value.known


def test_an_unknown_condition_says_how_conditions_look() -> None:
    """The paper's, or any loss and delay."""
    with pytest.raises(InputError, match=r"unknown condition 'slow'; known are: none, loss-1pct"):
        MatrixOptions(conditions="none,slow").build()


@pytest.mark.parametrize(
    ("text", "wanted"), [("", []), (",,", []), ("a", ["a"]), (" a , b,", ["a", "b"]), ("a b", ["a b"])]
)
def test_lists(text: str, wanted: list[str]) -> None:
    """Commas part, spaces around are nothing."""
    assert wanted == split(text)


@given(st.builds(Placement, st.sampled_from(Place), st.sampled_from(End), st.none() | st.integers(1, 10**6)))
def test_a_placement_is_written_as_it_is_read(placement: Placement) -> None:
    """The column of the results is what `--placement` takes."""
    assert placement == parse_placement(str(placement), Placement())


@pytest.mark.parametrize(
    "text",
    [
        "underlay:client:-3",
        "underlay:client:0",
        "vxlan::10000001",
        "pod:both:1:2",
        "pod:both:1_000",
        "pod:both:+5",
    ],
)
def test_a_limit_that_no_queue_can_have_is_refused(text: str) -> None:
    """A queue holds at least one packet; more than ten million, or a fourth part, is a slip of the finger."""
    with pytest.raises(InputError, match="limit: 1 to 10000000 packets, or auto"):
        parse_placement(text, Placement())


@pytest.mark.parametrize(
    "options",
    [
        MatrixOptions("quick", conditions="none,loss-10pct"),
        MatrixOptions("quick", duration=60),
        MatrixOptions(repetitions=20),
        MatrixOptions("quick", tests="convergence"),
        MatrixOptions("quick", blocks=4),
    ],
    ids=["conditions", "duration", "repetitions", "tests", "blocks"],
)
def test_a_profiles_own_budget_goes_when_something_is_asked_for_that_costs_time(
    options: MatrixOptions,
) -> None:
    """The quick profile's minutes are those of its own matrix; what somebody asks for has no budget but theirs."""
    assert options.build().budget_min is None


def test_a_number_of_repetitions_is_a_number_of_repetitions() -> None:
    """Whoever asks for so many gets them, whatever is decided before that."""
    assert MatrixOptions().build().adaptive
    assert not MatrixOptions(repetitions=20).build().adaptive


def test_conditions_that_were_asked_for_are_marked_as_such() -> None:
    """A budget takes away only what the profile chose itself."""
    assert MatrixOptions(conditions="none", budget=1).build().conditions_asked
    assert not MatrixOptions(budget=1).build().conditions_asked


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "ip"), 1, "error: ip: No such file\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "a\x1bb"),
            1,
            "error: a\\x1bb: Permission denied\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device\n"),
        (
            OSError(errno.ENAMETOOLONG, "Too long", "x" * 300),
            2,
            f"error: {'x' * 80}...: Too long; shorten it\n",
        ),
    ],
)
def test_what_the_system_refuses_is_a_sentence(error: OSError, code: int, said: str) -> None:
    """Which file, and the system's reason; what it says of no file is a defect, and stays a traceback."""

    @click.command()
    @bad_input_exits_2
    def refused() -> None:
        raise error

    done = CliRunner().invoke(refused)
    assert (done.exit_code, done.output) == (code, said)


def test_what_the_system_says_of_no_file_is_not_hidden() -> None:
    """A defect of ours keeps its traceback."""

    @click.command()
    @bad_input_exits_2
    def broken() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    assert isinstance(CliRunner().invoke(broken).exception, OSError)
