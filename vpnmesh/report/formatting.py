"""How figures and column names are written for people; files carry full precision, only pages round."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

_HEADINGS = {
    "mean_mbit_s": "mean, Mbit/s",
    "sd_mbit_s": "sd, Mbit/s",
    "median_mbit_s": "median, Mbit/s",
    "mean_low": "mean, 95 % from",
    "mean_high": "to",
    "cv": "CV",
    "cap_mbit_s": "netem cap, Mbit/s",
    "cap_share": "share of cap",
    "near_cap": "near cap",
    "lowest_mbit_s": "lowest, Mbit/s",
    "highest_mbit_s": "highest, Mbit/s",
    "slow_start_s": "slow start, s",
    "slow_start_share": "share in slow start",
    "solution_cpu_pct_mean": "VPN's own CPU, %",
    "solution_cpu_pct_sd": "sd, %",
    "solution_ram_mb_mean": "VPN's own RAM, MB",
    "lag1": "lag-1 autocorrelation",
    "trend_tau": "trend τ",
    "trend_p": "trend p",
    "effective_n": "effective n",
    "n_a": "n a",
    "n_b": "n b",
    "u": "U",
    "p_holm": "p (Holm)",
    "reject": "differ",
    "reject_holm": "differ (Holm)",
    "cliffs_delta": "Cliff's δ",
    "ratio": "ratio a/b",
    "ratio_low": "95 % from",
    "ratio_high": "to",
    "ratio_method": "interval by",
    "margin_pct": "margin, %",
    "minutes_more": "minutes more",
    "mean_s": "mean, s",
    "sd_s": "sd, s",
    "p50_s": "p50, s",
    "p90_s": "p90, s",
    "p99_s": "p99, s",
    "achieved_rps": "achieved, requests/s",
    "sd_of_run_means_s": "sd of run means, s",
    "cpu_pct_mean": "CPU, %",
    "cpu_pct_sd": "CPU sd, %",
    "ram_mb_mean": "RAM, MB",
    "ram_mb_sd": "RAM sd, MB",
    "setup_steps_mean": "steps, mean",
    "setup_s_mean": "set-up, s",
    "setup_s_sd": "sd, s",
    "seconds_mean": "mean, s",
    "seconds_sd": "sd, s",
    "seconds_max": "longest, s",
    "rtt_ms_mean": "RTT, ms",
    "rtt_ms_sd": "RTT sd, ms",
    "lost_pct_mean": "lost, %",
    "fill_s_median": "filled after, s (median)",
    "fill_s_lowest": "lowest, s",
    "fill_s_highest": "highest, s",
    "steady_s_median": "steady after, s (median)",
}

_RATIO = "ratio_"
_SMALLEST_P = 1e-99
_PLACES = {
    "ratio": 3,
    "ratio_low": 3,
    "ratio_high": 3,
    "share": 2,
    "effective_n": 1,
    "minutes_more": 1,
    "achieved_rps": 1,
    "u": 1,
}


@dataclass(frozen=True, slots=True)
class TableCell:
    """What a cell of a page's table shows, and the full figure that it is sorted by (None for words)."""

    text: str
    number: float | None = None


def heading(column: str) -> str:
    """A column's name with its unit, as a person writes it."""
    known = _HEADINGS.get(column)
    if known is None and column.startswith(_RATIO):
        # a scenario's name has no underscore of its own
        return f"{column.removeprefix(_RATIO).replace('_', '-')} / mean"
    return known or column.replace("_", " ")


def p_text(p: float) -> str:
    """A p-value: two significant digits, and no zero that claims more than arithmetic can."""
    return f"< {_SMALLEST_P:g}" if p < _SMALLEST_P else f"{p:.2g}"


def number_text(column: str, value: float) -> str:
    """A figure with the digits that its column deserves."""
    if column in {"p", "p_holm", "trend_p"}:
        return p_text(value)
    if column.endswith("_s") and not column.endswith("mbit_s"):
        return f"{value:.4f}"
    return f"{value:.{_PLACES.get(column, 2)}f}"


def significant(value: float) -> str:
    """A figure of whatever size with four significant digits, written out."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e+" in text else text


def cell(column: str, value: object) -> TableCell:
    """One value of a frame; what is missing is a dash, never a zero."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return TableCell("\N{EN DASH}")
    if isinstance(value, bool):
        return TableCell("yes" if value else "no")
    if isinstance(value, int):
        return TableCell(str(value), float(value))
    if isinstance(value, float):
        return TableCell(number_text(column, value), value)
    return TableCell(str(value))


def span(numbers: Iterable[int]) -> str:
    """The one number, or the least and the greatest: `6`, `2 to 10`."""
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
