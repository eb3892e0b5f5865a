"""Digests of container images that a user has read once: a file of the user's, strict from then on."""

import json
import os
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vpnmesh.documents.validation import first_problem
from vpnmesh.errors import InputError
from vpnmesh.host.binaries import Digest
from vpnmesh.lab.atomic import write_atomic

_HEAD = "# Digests of container images, each read once over TLS: python -m vpnmesh.lab binaries --pin NAME\n"
_WRITABLE_BY_OTHERS = 0o022


class Pin(BaseModel):
    """What one image's tag meant on the day it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: Digest
    read: date


class _Pins(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Mapping[str, Pin] = {}


def pins_file() -> Path:
    """`pins.toml` in the user's folder of settings."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "vpnmesh" / "pins.toml"


def read_pins() -> Mapping[str, Pin]:
    """Pins by image and tag, `docker.io/x/relay:0.77.1`; InputError where the file cannot be trusted or read."""
    path = pins_file()
    try:
        if path.stat().st_mode & _WRITABLE_BY_OTHERS:
            raise InputError(str(path), "others may write it", f"look at it, then chmod 600 {path}")
        return _Pins.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).images
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(str(path), str(error)) from None
    except ValidationError as error:
        key, problem = first_problem(error)
        raise InputError(f"{path}: {key}", problem) from None


def write_pin(name: str, digest: str) -> None:
    """Add a pin; InputError where that image is pinned to another digest: who wants the new one strikes the old one."""
    pins = dict(read_pins())
    if (old := pins.get(name)) and old.digest != digest:
        problem = f"{name} is pinned to {old.digest} since {old.read}, and the registry now says {digest}"
        raise InputError(str(pins_file()), problem, "strike that entry if the new one is wanted")
    pins.setdefault(name, Pin(digest=digest, read=datetime.now(UTC).date()))
    entries = (
        f'\n[images.{json.dumps(image)}]\ndigest = "{pin.digest}"\nread = {pin.read}\n'
        for image, pin in sorted(pins.items())
    )
    pins_file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(pins_file(), (_HEAD + "".join(entries)).encode())
