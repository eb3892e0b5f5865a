"""What is on a machine, line by line, so that before and after can be compared: nothing that a run left may hide.

The machine is asked by one script over SSH. What a machine changes by itself, whoever is logged in, is named in OWN
with the reason; every other difference counts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Listing = Mapping[str, tuple[str, ...]]

# a directory's time says only that something in it came or went, which its content says too
_FILES = r"""find / -xdev -type d -printf '%p %y %m %U:%G\n' -o -printf '%p %y %m %U:%G %s %T@ %l\n'"""
_CONTENTS = "find /etc /home /opt /root /srv /usr/local -xdev -type f -exec sha256sum {} +"
QUESTIONS: Mapping[str, str] = {
    "packages": r"dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n'",
    "units": "systemctl list-units --all --plain --no-legend --no-pager | awk '{print $1, $2, $3, $4}'",
    "unit files": "systemctl list-unit-files --no-legend --no-pager",
    "files": _FILES,
    "contents": _CONTENTS,
    "run": r"find /run -maxdepth 1 -printf '%p %y %m %U:%G\n'",
    "rules": "nft -s list ruleset",
    "routes": "ip route show table all; ip -6 route show table all; ip rule; ip -6 rule",
    "sysctls": "sysctl -a 2> /dev/null",
    "interfaces": "ip -d link; ip address",
    "qdiscs": "tc qdisc show",
    "network namespaces": "ip netns list",
    "programs": "ps --ppid 2 -p 2 --deselect -o user:32=,comm= | sort -u",
}
"""The commands, by what they list; constant text for a shell that root runs."""

_START, _END = "### ", "### end"


@dataclass(frozen=True, slots=True)
class Own:
    """Lines that a machine changes by itself, and why."""

    section: str
    pattern: str
    reason: str


OWN = (
    Own("units", r"session-\S+\.scope |user(-runtime-dir)?@\d+\.service |user-\d+\.slice ", "logins come and go"),
    Own("unit files", r"session-\S+\.scope ", "logins come and go"),
    Own("units", r"run-user-\d+\.mount |run-credentials\S* ", "a mount of a login or of a starting unit"),
    Own("units", r"(apt-daily|apt-daily-upgrade|dpkg-db-backup|e2scrub_all|fstrim|systemd-tmpfiles-clean)\S* ",
        "the machine's timers run when they are due"),
    Own("units", r"systemd-(hostnamed|timedated|localed)\.service ", "started by who asks, ends by itself"),
    Own("units", r"dev-\S+\.device |sys-\S+\.device ", "devices are named as they are found"),
    Own("files", r"/var/log/", "logs, the journal among them, grow"),
    Own("files", r"/tmp/systemd-private-|/var/tmp/systemd-private-", "private folders of units, new at every boot"),
    Own("files", r"/var/lib/systemd/(timers/|random-seed|catalog/|timesync/)", "kept by systemd over a boot"),
    Own("files", r"/var/lib/private|/var/cache/private", "folders of units with users of their own"),
    Own("files", r"/var/(lib|cache)/apt/|/var/lib/unattended-upgrades|/var/backups/", "upgrades look for news"),
    Own("files", r"/var/spool/", "mail and jobs of the machine"),
    Own("run", r"/run/(user|utmp|initctl|reboot-required|motd|lock|screen|sudo|log) ", "made by logins, and at boot"),
    Own("run", r"/run/(nologin|initramfs|blkid|unattended-upgrades\S*|apt-\S*) ", "made while it starts or upgrades"),
    Own("sysctls", r"fs\.(dentry-state|inode-nr|inode-state|file-nr|aio-nr|quota\S*) ", "counters"),
    Own("sysctls", r"kernel\.(ns_last_pid|pty\.nr|random\.\S+) ", "counters, and the id of the boot"),
    Own("sysctls", r"net\.netfilter\.nf_conntrack_count ", "a counter"),
    Own("sysctls", r"net\.ipv4\.tcp_(fastopen_key|mem) |net\.ipv4\.udp_mem ", "drawn or reckoned at boot"),
    Own("units", r"systemd-fsck\S* ", "file systems are checked at boot where that is due"),
    Own("sysctls", r"vm\.(min_free|user_reserve|admin_reserve)_kbytes ",
        "reckoned at boot from the memory that is free then"),
    Own("sysctls", r"(kernel\.threads-max|user\.max_\S+|fs\.epoll\.max_user_watches|fs\.file-max) ",
        "reckoned at boot from the memory that is free then"),
    Own("programs", r"\S+ +(sshd|sudo|sh|bash|ps|sort|systemd|\(sd-pam\)|systemctl|find)$", "this very look"),
    Own("programs", r"\S+ +(apt\S*|dpkg\S*|unattended-upgr|http|gpgv|sleep|systemd-(hostnam|timedat|tmpfil)\S*)$",
        "the machine's timers run when they are due"),
    Own("programs", r"root +\(udev-worker\)$", "udev's workers end once no device has come for a while"),
)  # fmt: skip
"""Everything that may differ; what matches none of these may not."""


def script() -> str:
    """What root's shell on the machine runs: every question below a line with its name."""
    asked = (f"echo '{_START}{name}'\n{command}\n" for name, command in QUESTIONS.items())
    return f"export LC_ALL=C.UTF-8 SYSTEMD_BUS_TIMEOUT=300\n{''.join(asked)}echo '{_END}'\n"


def read(text: str) -> Listing:
    """What the script printed, by question, each sorted; ValueError where it stopped or a question has no answer."""
    sections: dict[str, list[str]] = {}
    lines = text.splitlines()
    if not lines or lines[-1] != _END:
        raise ValueError(f"the listing ends with {lines[-1:]}, not with its end")
    current: list[str] = []
    for line in lines[:-1]:
        if line.startswith(_START):
            current = sections.setdefault(line.removeprefix(_START), [])
        elif line.strip():
            current.append(line.rstrip())
    if silent := [name for name in QUESTIONS if not sections.get(name) and name != "network namespaces"]:
        raise ValueError(f"no answer to: {', '.join(silent)}")
    return {name: tuple(sorted(said)) for name, said in sections.items()}


def differences(before: Listing, after: Listing) -> list[str]:
    """What came and what went, but what the machine changes by itself, as sentences; normally none."""
    return [
        f"{section}: {what}: {line}"
        for section, what, line in _changed(before, after)
        if not _reason(section, line)
    ]


def by_itself(before: Listing, after: Listing) -> dict[str, int]:
    """How many lines differ for each of the reasons in OWN."""
    counted: dict[str, int] = {}
    for section, _, line in _changed(before, after):
        if reason := _reason(section, line):
            counted[reason] = counted.get(reason, 0) + 1
    return counted


def _changed(before: Listing, after: Listing) -> Iterator[tuple[str, str, str]]:
    for section in QUESTIONS:
        was, now = set(before[section]), set(after[section])
        yield from ((section, "came", line) for line in sorted(now - was))
        yield from ((section, "went", line) for line in sorted(was - now))


def _reason(section: str, line: str) -> str:
    return next((own.reason for own in OWN if own.section == section and re.match(own.pattern, line)), "")
