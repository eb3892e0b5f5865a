"""Where an adaptive run stands, as one sentence for the screen."""

from collections.abc import Mapping

from vpnmesh.study.adaptive import Standing, Stratum


def told(judged: Mapping[Stratum, Standing]) -> str:
    """How many pairs are decided, in all and for each test."""
    tests = dict.fromkeys(stratum.test for stratum in judged)
    each = {test: [one for stratum, one in judged.items() if stratum.test == test] for test in tests}
    told = ", ".join(f"{test} {_decided(found)} of {_pairs(found)}" for test, found in each.items())
    whole = list(judged.values())
    return f"{_decided(whole)} of {_pairs(whole)} pairs decided ({told})" if judged else "no pair to decide"


def _pairs(judged: list[Standing]) -> int:
    return sum(len(one.progress.verdicts) for one in judged)


def _decided(judged: list[Standing]) -> int:
    return _pairs(judged) - sum(len(one.progress.undecided) for one in judged)
