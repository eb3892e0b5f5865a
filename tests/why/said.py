"""What a node prints where it is asked for its state, and what the probes print: the shapes of the real tools."""

NFT = {
    "nftables": [
        {"metainfo": {"version": "1.0.6"}},
        {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 3, "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["a", "b"]}}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 41641}},
            {"counter": {"packets": 12, "bytes": 400}}, {"drop": None}]}},
        {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 4, "expr": [{"accept": None}]}},
        {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 5, "expr": [{"drop": None}]}},
    ]
}  # fmt: skip
SS = (
    'UNCONN 0 0 0.0.0.0:41641 0.0.0.0:* users:(("tailscaled",pid=7,fd=20))\n'
    "\t skmem:(r0,rb14680064,t0,tb14680064,f0,w0,o0,bl0,d17)\n"
    "UNCONN 0 0 0.0.0.0:4789 0.0.0.0:*\n\t skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d0)\n"
)
TCP = "LISTEN 0 4096 0.0.0.0:443 0.0.0.0:*\nLISTEN 0 128 [::]:22 [::]:*\n"
LINKS = [{"ifname": "eth0", "mtu": 1500, "linkinfo": {"info_kind": "veth"}, "addr_info": [
    {"family": "inet", "local": "192.88.99.10"}, {"family": "inet6", "local": "fe80::1"}]}]  # fmt: skip
ETHTOOL = (
    "@link eth0\nFeatures for eth0:\ntcp-segmentation-offload: on\n\ttx-tcp-segmentation: on\n"
    "generic-segmentation-offload: off\ngeneric-receive-offload: off [fixed]\n@link gone\n"
)
DAEMONS = (
    "@lost derper\ntailscaled 7 S 19 0,2-3 2000/100000 /sys/fs/cgroup/cpu/x /usr/bin/tailscaled (deleted)\n"
)
ROUTES = (
    "192.88.99.18 192.88.99.18 via 192.88.99.9 dev eth0 src 192.88.99.10 uid 0\n"
    "@own 192.88.99.18 via 192.88.99.9 dev eth0 metric 5 linkdown \n192.88.99.2 \n"
)
MACHINE = (
    "4\n1.50\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 9 0 0 9 6 0\n"
)
PROBED = {
    "mapped": {"relay": ["192.88.99.10", 40000]}, "heard": {}, "arrived": {"worker2": [41641]},
    "sizes": {"worker2": [500, 1500]}, "overlay_sizes": [1280], "tcp": {"192.88.99.26:443": "open"},
    "stun": {"192.88.99.26:3478": "192.88.99.10:40001"}, "told": False, "burst": [640, 640],
    "cpu": {"tailscaled 7": [0.1, 0.05, 1.0]}, "over": True, "seconds": 1.5,
}  # fmt: skip
