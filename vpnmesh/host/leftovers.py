"""Packet filter rules that VPN clients make on a node, and may leave there when they are killed.

Besides their own chains they leave empty iptables tables behind; an empty `nat` table alone switches connection
tracking on, which the next scenario, and the native baseline above all, would pay for. Empty ones that were there
before the run came are their owner's, and stay: the lease keeps their names.
"""

from vpnmesh.host.lease import FOLDER, TABLES
from vpnmesh.plan import Command

BEFORE = f"{FOLDER}/{TABLES}"
# constant scripts; the pattern (extended regular expression of chain names and marks) is an argument, and so is the
# file of tables that were there before
_FIND = """
for tool in iptables-save ip6tables-save; do
  command -v "$tool" > /dev/null && "$tool" 2> /dev/null | sed 's/^:/-N /' | grep -E -- "$1"
done
command -v nft > /dev/null && nft list ruleset 2> /dev/null | grep -E -- "$1"
true
"""
_REMOVE = """
each() {  # command: run it for every table that iptables and its likes use
  for family in ip ip6; do for table in raw mangle nat filter; do
    "$1" "$family" "$table" "$2"
  done; done
}
by_iptables() {
  tool=iptables; [ "$1" = ip6 ] && tool=ip6tables
  command -v "$tool" > /dev/null || return
  "$tool" -w -t "$2" -S 2> /dev/null | grep -E -- "$3" > /run/vpnmesh-rules || return
  # words of a rule, split on purpose
  sed -n 's/^-A/-D/p' /run/vpnmesh-rules | while read -r rule; do "$tool" -w -t "$2" $rule 2> /dev/null; done
  sed -n 's/^-N //p' /run/vpnmesh-rules | while read -r chain; do "$tool" -w -t "$2" -F "$chain"; done
  sed -n 's/^-N //p' /run/vpnmesh-rules | while read -r chain; do "$tool" -w -t "$2" -X "$chain"; done
}
there() { case "$tables" in *"table $1 $2"*) ;; *) return 1;; esac; }
rules_by_nft() {
  there "$1" "$2" || return
  nft -a list table "$1" "$2" 2> /dev/null | awk -v p="$3" '
    /^\tchain /{chain = $2; next} $0 ~ p && /# handle/ {print chain, $NF}' > /run/vpnmesh-rules
  while read -r chain handle; do nft delete rule "$1" "$2" "$chain" handle "$handle"; done < /run/vpnmesh-rules
}
chains_by_nft() {
  there "$1" "$2" || return
  nft list table "$1" "$2" 2> /dev/null | awk -v p="$3" '/^\tchain / && $2 ~ p {print $2}' > /run/vpnmesh-rules
  while read -r chain; do nft flush chain "$1" "$2" "$chain"; done < /run/vpnmesh-rules
  while read -r chain; do nft delete chain "$1" "$2" "$chain"; done < /run/vpnmesh-rules
}
if_empty() {
  there "$1" "$2" || return
  ! grep -qxF "table $1 $2" "$3" 2> /dev/null || return
  text=$(nft list table "$1" "$2" 2> /dev/null) || return
  hook='(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)'
  printf '%s\n' "$text" | grep -qvE "^(#.*|table .*|\tchain $hook [{]|\t\ttype .* policy accept;.*|\t*[}]|)$" \
    || nft delete table "$1" "$2"
}
# a look at everything first: on most nodes nothing is left, and a program for each table is what takes time there
{ iptables-save; ip6tables-save; } 2> /dev/null | sed 's/^:/-N /' | grep -qE -- "$1" && each by_iptables "$1"
if command -v nft > /dev/null; then
  tables=$(nft list tables)
  each rules_by_nft "$1"; each chains_by_nft "$1"; each if_empty "$2"
fi
rm -f /run/vpnmesh-rules
true
"""


def find(pattern: str) -> Command:
    """Print the rules and chains that match; nothing when there are none."""
    return Command(("sh", "-c", _FIND, "sh", pattern))


def remove(pattern: str, before: str = BEFORE) -> Command:
    """Delete the rules and chains that match, then empty iptables tables that `before` does not name."""
    return Command(("sh", "-c", _REMOVE, "sh", pattern, before))


def delete_table(family: str, name: str) -> Command:
    """Delete an nftables table that a client made for itself; fine when it is not there."""
    return Command(("nft", "delete", "table", family, name), ok=(0, 1, 127))
