"""The core: values in, values out; only `vpnmesh.lab` touches the machine."""
