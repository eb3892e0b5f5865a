"""The embedded testbed: nodes as namespaces under one init, so that the kernel cleans up whatever happens.

`vpnmesh.lab.lifecycle` holds `up`, `find` and `down`; nothing is imported here, because the lab's init starts
through this package and must start fast.
"""
