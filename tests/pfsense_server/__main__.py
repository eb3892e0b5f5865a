"""Run the stand-in in the namespace that it is started in: `python -m tests.pfsense_server SETTINGS.json`.

The settings: address, port, certificate, config (where to keep it), key, interfaces, and the
aliases and rules, foreign to any driver, that it starts with. Prints `ready` and serves until its standard input ends.
"""

import json
import sys
from pathlib import Path

from tests.pfsense_server.config import Config
from tests.pfsense_server.kernel import NftKernel
from tests.pfsense_server.schema import Schema
from tests.pfsense_server.server import Appliance, serve


def main(path: str) -> None:
    """Serve."""
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    interfaces = {name: tuple(networks) for name, networks in settings["interfaces"].items()}
    config = Config(interfaces, path=Path(settings["config"]))
    for section in ("aliases", "rules"):
        for item in settings[section]:
            config.create(section, item)
    kernel = NftKernel(config)
    kernel.reload()
    config.dirty.clear()
    appliance = Appliance(config, kernel, Schema(), {settings["key"]: {"page-all"}})
    serve(appliance, (settings["address"], settings["port"]), Path(settings["certificate"]))
    print("ready", flush=True)
    sys.stdin.read()


main(sys.argv[1])
