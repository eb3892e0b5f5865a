"""Text that people wrote, checked: YAML with the place of every error, inventories, names."""
