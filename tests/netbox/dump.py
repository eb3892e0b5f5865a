"""Make the database that the tests' NetBox starts from: `python -m tests.netbox.dump`, about ten minutes.

NetBox's own `migrate` on an empty database, an administrator with an old and a new token, `pg_dump`; the file beside
this one is replaced, to be committed. To be made again whenever VERSION in install.py changes.
"""

import lzma
import subprocess
import sys
import time
from pathlib import Path

from tests.netbox.install import POSTGRES, VERSION, CannotRunError, run
from tests.netbox.server import DUMP, TOKEN_V1, TOKEN_V2, NetBoxServer, environment

KEY, SECRET = TOKEN_V2.removeprefix("nbt_").split(".")
ADMIN = f"""
from django.contrib.auth import get_user_model
from users.models import Token
user = get_user_model().objects.create_superuser("admin", "admin@example.org", "admin")
Token.objects.create(user=user, version=1, token="{TOKEN_V1}")
Token.objects.create(user=user, version=2, key="{KEY}", token="{SECRET}")
"""


def make(target: Path = DUMP) -> None:
    """Write the dump; what NetBox says of each migration goes to the screen."""
    with NetBoxServer(dump=None, say=tell) as server:
        tell("migrating an empty database")
        argv = (str(server.venv / "bin" / "netbox"), "migrate", "--no-input")
        subprocess.run(argv, env=environment(server.directory), check=True)
        tell("making the administrator and the tokens")
        server.shell(ADMIN)
        dump = run(str(POSTGRES / "pg_dump"), "--no-owner", "netbox", env=environment(server.directory))
    part = target.with_suffix(".part")
    part.write_bytes(lzma.compress(portable(dump).encode(), preset=9 | lzma.PRESET_EXTREME))
    part.rename(target)


def portable(dump: str) -> str:
    """The dump under a line that says what it is, without the commands that only the newest psql knows."""
    lines = (line for line in dump.splitlines() if not line.startswith(("\\restrict ", "\\unrestrict ")))
    return "\n".join((f"-- NetBox {VERSION}, made by python -m tests.netbox.dump", *lines, ""))


def tell(line: str) -> None:
    """Say what takes long."""
    print(line, flush=True)


def main() -> None:
    """Make it and say how long it took and how large it is."""
    started = time.monotonic()
    try:
        make()
    except (CannotRunError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    tell(f"{DUMP}: {DUMP.stat().st_size} bytes, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
