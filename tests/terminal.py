"""What a process shows at its terminal."""

import os


def read_until(terminal: int, word: str) -> str:
    """What the terminal shows until the word, or until its process ends."""
    shown = b""
    while word.encode() not in shown:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break
    return shown.decode()
