"""The commands, one module each; `python -m workflows` is all of them."""

import atexit
import gc

# what a command loads stays: to look for garbage in it at every 700 new objects, as Python does, takes a tenth of the
# command's time
gc.set_threshold(100_000)
# nor is there anything to look for at its end, when all is given back at once
atexit.register(gc.freeze)
