"""The commands, one module each; `python -m workflows` is all of them."""
