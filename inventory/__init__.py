"""What the testbed is: the inventories that ship, and how YAML and NetBox are read and kept the same."""
