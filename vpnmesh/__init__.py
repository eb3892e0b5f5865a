"""The core of vpnmesh: values in, values out; only `vpnmesh.lab` touches the machine."""
