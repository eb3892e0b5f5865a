"""Where an adaptive run stands, as one sentence for the screen."""

from collections.abc import Mapping

from vpnmesh.study.adaptive import Family, Judged


def standing(judged: Mapping[Family, Judged]) -> str:
    """How many pairs are decided, in all and for each test."""
    tests = dict.fromkeys(family.test for family in judged)
    each = {test: [one for family, one in judged.items() if family.test == test] for test in tests}
    told = ", ".join(f"{test} {_decided(found)} of {_pairs(found)}" for test, found in each.items())
    whole = list(judged.values())
    return f"{_decided(whole)} of {_pairs(whole)} pairs decided ({told})" if judged else "no pair to decide"


def _pairs(judged: list[Judged]) -> int:
    return sum(len(one.progress.verdicts) for one in judged)


def _decided(judged: list[Judged]) -> int:
    return _pairs(judged) - sum(len(one.progress.undecided) for one in judged)
