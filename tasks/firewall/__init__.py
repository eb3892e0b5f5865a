"""The firewall node: set a policy, roll it back, prove it; one module per kind of firewall (driver)."""
