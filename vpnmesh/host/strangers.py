"""Daemons on a node that are not of our making: told from ours by marks that only ours have, and never touched.

Ours are those of a pid file below our run directory, whatever descends from them, and those whose command line has a
folder of ours, or the name of an interface that nobody else uses. So what a killed run left is ours as long as it runs.
"""

from collections.abc import Sequence

from vpnmesh.plan import Command

RUN_DIRECTORY = "/run/vpnmesh"
"""Where pid files of our services are."""
MARKS = (f"{RUN_DIRECTORY}/", "/var/lib/vpnmesh/")
"""What is in the command line of daemons of ours."""

KUBERNETES = ("kubelet", "kube-apiserver", "k3s", "k3s-server", "k3s-agent", "rke2", "k0s", "kubelite")
"""Processes by which a Kubernetes on a node is known, with the pod network that it makes under the names of ours."""

# shell function: `descends PID` says whether a process is one of a pid file below $run, or descends from one
DESCENDS = """
ours=" $(cat "$run"/*.pid 2> /dev/null | tr '\\n' ' ') "
descends() {
  p="$1"
  while [ "${p:-0}" -gt 1 ]; do
    case "$ours" in *" $p "*) return 0;; esac
    p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2> /dev/null)
  done
  return 1
}
"""
# shell functions: `strangers MARKS -- NAMES` prints `NAME PID COMMAND` of every process of these names (/proc/PID/comm)
# that is not ours; a dead one that nobody has waited for yet is none
STRANGERS = (
    DESCENDS
    + """marked() {
  line=" $(tr '\\0' ' ' < "/proc/$1/cmdline" 2> /dev/null) "; shift
  for mark in "$@"; do case "$line" in *"$mark"*) return 0;; esac; done
  return 1
}
strangers() {
  marks=; while [ "$1" != -- ]; do marks="$marks $1"; shift; done; shift
  names=" $* "
  for d in /proc/[0-9]*; do
    read -r comm < "$d/comm" 2> /dev/null || continue
    case "$names" in *" $comm "*) ;; *) continue;; esac
    grep -q '^State:[[:space:]]*Z' "$d/status" 2> /dev/null && continue
    pid="${d#/proc/}"
    # marks are words without blanks, split on purpose
    descends "$pid" || marked "$pid" $marks || echo "$comm $pid $(tr '\\0' ' ' < "$d/cmdline" 2> /dev/null)"
  done
}
"""
)
# constant script: run directory, marks, --, names, --, then the command. What has just been stopped may take a moment
_UNLESS = (
    'run="$1"; shift\n'
    + STRANGERS
    + """
marks=; while [ "$1" != -- ]; do marks="$marks $1"; shift; done; shift
names=; while [ "$1" != -- ]; do names="$names $1"; shift; done; shift
i=0; while [ -n "$(strangers $marks -- $names)" ]; do
  [ $i -ge "${tries:-10}" ] && exit 0
  i=$((i+1)); sleep 0.1
done
exec "$@"
"""
)
_UNLESS_NOW = f"tries=0\n{_UNLESS}"


def unless_strangers(command: Command, names: Sequence[str], *, at_once: bool = False) -> Command:
    """The command, which does nothing on a node where a stranger of these names runs: what it is about may be theirs.

    `at_once` waits for none to end, for questions.
    """
    if not names:
        return command
    script = _UNLESS_NOW if at_once else _UNLESS
    argv = ("sh", "-c", script, "sh", RUN_DIRECTORY, *MARKS, "--", *names, "--", *command.argv)
    return Command(argv, command.stdin, command.timeout_s + 10, command.ok)
