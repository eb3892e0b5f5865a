"""The switch below the testbed: which VLAN each node's port is in, as values; tasks talk to the box."""
