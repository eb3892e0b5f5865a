"""What travels between controller and Dask workers: plain values, sealed with a key that the scheduler does not have.

Dask pickles what it is given, and its scheduler sees it. It is given sealed bytes only: encrypted and authenticated
(Fernet), so that neither a dump of the scheduler nor of the network shows what is in them, and nobody without the key
can have a worker or the controller open something. A worker trusts what is sealed; the controller opens values alone:
no function, and no class but dataclasses and enumerations of modules that it has loaded itself.
"""

import dataclasses
import enum
import io
import ipaddress
import pickle
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from nornir.core import Nornir
from nornir.core.inventory import Host

from vpnmesh.errors import VpnmeshError

OURS = frozenset({"vpnmesh", "tasks", "inventory", "workflows"})
"""The packages whose values the controller opens; that of the task is added."""
_LIVE = (Nornir, Host)
_PLAIN_CLASSES: frozenset[type] = frozenset(
    {
        *(ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network),
        *(PurePosixPath, set, frozenset, complex),
    }
)


class CannotTravelError(VpnmeshError):
    """A value that cannot be sent to another process; `reason` says which and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ForeignParcelError(VpnmeshError):
    """Bytes that were not sealed with this key, or hold what is no plain value."""


class Seal:
    """Packs values and opens what others packed who hold the same key."""

    def __init__(self, key: bytes) -> None:
        try:
            self._fernet = Fernet(key)
        except ValueError as error:
            raise ForeignParcelError("the file seal.key holds no key") from error

    @staticmethod
    def new_key() -> bytes:
        """A key of its own for a new set of credentials."""
        return Fernet.generate_key()

    def pack(self, value: object) -> bytes:
        """The value as sealed bytes; CannotTravelError says what of it is no plain value."""
        return self._fernet.encrypt(zlib.compress(_pickled(value), 1))

    def open_trusted(self, parcel: bytes) -> Any:
        """What the controller packed, for a worker: functions and classes of any module may be in it."""
        return pickle.loads(self._content(parcel))  # noqa: S301 - authenticated above, by who may run tasks here

    def open_values(self, parcel: bytes, packages: Iterable[str] = ()) -> Any:
        """What a worker packed, for the controller: plain values, nothing else is even looked at."""
        return _Values(io.BytesIO(self._content(parcel)), OURS | set(packages)).load()

    def _content(self, parcel: bytes) -> bytes:
        try:
            return zlib.decompress(self._fernet.decrypt(parcel))
        except (InvalidToken, zlib.error) as error:
            raise ForeignParcelError("a parcel that was not sealed with this key") from error


def loaded(module: str, name: str) -> Any:
    """What a module that this process has loaded holds under that dotted name; None where there is no such thing."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def read_only(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A read-only mapping, whose own class pickle does not find."""
    return MappingProxyType(content)


def is_plain(value: object, packages: Iterable[str] = ()) -> bool:
    """Whether the controller would open it."""
    try:
        _Values(io.BytesIO(_pickled(value)), OURS | set(packages)).load()
    except (CannotTravelError, ForeignParcelError):
        return False
    return True


def _pickled(value: object) -> bytes:
    content = io.BytesIO()
    try:
        _Packer(content, protocol=5).dump(value)
    except CannotTravelError:
        raise
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise CannotTravelError(f"holds a live object ({' '.join(str(error).split())[:120]})") from error
    return content.getvalue()


class _Packer(pickle.Pickler):
    """Pickles values; what another process could not use is refused by name."""

    def reducer_override(self, value: Any) -> Any:
        """Refuse functions without a name of their own and live objects; read-only mappings are made anew."""
        if isinstance(value, FunctionType):
            _refuse_nameless(value)
        elif isinstance(value, _LIVE):
            raise CannotTravelError(f"holds a live {type(value).__name__}, with its connections")
        elif isinstance(value, ModuleType):
            raise CannotTravelError(f"holds the module {value.__name__}")
        elif isinstance(value, MappingProxyType):
            return read_only, (dict(value),)
        elif isinstance(value, enum.Enum):
            # Python 3.11.0 to 3.11.3 would call `getattr` for it, which the controller does not open
            return type(value), (value.value,)
        return NotImplemented


def _refuse_nameless(function: FunctionType) -> None:
    where = f"{function.__module__}:{function.__qualname__}"
    if "<lambda>" in where:
        raise CannotTravelError(f"holds a lambda ({where})")
    if "<locals>" in where:
        raise CannotTravelError(f"holds a function made inside of another one ({where})")
    if function.__module__ == "__main__":
        raise CannotTravelError(
            f"holds a function of the command itself ({where}), which workers cannot import"
        )


class _Values(pickle.Unpickler):
    """Opens values: dataclasses and enumerations of these packages' loaded modules, and a few plain classes."""

    def __init__(self, content: io.BytesIO, packages: frozenset[str]) -> None:
        super().__init__(content)
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        """The class, if it is one of values; ForeignParcelError else, and nothing is imported for it."""
        found = loaded(module, name)
        if found is read_only:
            return found
        if not isinstance(found, type) or not self._is_value(found):
            raise ForeignParcelError(f"{module}:{name} is no class of plain values that is loaded here")
        return found

    def _is_value(self, kind: type) -> bool:
        if kind in _PLAIN_CLASSES:
            return True
        of_ours = kind.__module__.partition(".")[0] in self._packages
        return of_ours and (dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum))
