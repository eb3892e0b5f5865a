"""What a worker is told of a host: where it is and how one talks to it, without anything that opens it.

Passwords, keys, their paths and passphrases stay where they are: only what is named here travels.
"""

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from nornir.core.inventory import (
    ConnectionOptions,
    Defaults,
    Group,
    Host,
    ParentGroups,
)

from inventory.across.logins import Login
from inventory.host_keys import LOGIN
from vpnmesh.testbed import site_of

DATA = frozenset(
    {
        *("kind", "underlay", "interface", "legs", "management_interface", "cores", "link_mbit_s"),
        *("testbed", "overlay", "pods", "allow_virtual_forwarding", "dns_servers", "ntp_servers"),
        "firewall_driver",
    }
)
"""The keys of a host's data that travel: those that describe a testbed. `data_keys` of the runner adds others."""
EXTRAS = frozenset(
    {
        *("use_keys", "allow_agent", "ssh_strict", "system_host_keys", "fast_cli", "device_type"),
        *("conn_timeout", "auth_timeout", "banner_timeout", "blocking_timeout", "session_timeout", "timeout"),
        *("global_delay_factor", "read_timeout_override", "keepalive", "disabled_algorithms"),
    }
)
"""The settings of a connection that travel: how it is made, not with what."""


@dataclass(frozen=True, slots=True)
class PlainHost:
    """A host without its secrets; `site` is that of its group `site__NAME`, empty without one."""

    name: str
    hostname: str
    port: int | None
    username: str | None
    platform: str | None
    groups: tuple[str, ...]
    data: Mapping[str, object]
    extras: Mapping[str, object]
    site: str

    @classmethod
    def of(cls, host: Host, data_keys: Iterable[str] = ()) -> "PlainHost":
        """What may be told of the host, what its groups and the defaults say of it included."""
        login = host.get_connection_parameters(LOGIN)
        wanted = DATA | set(data_keys)
        groups = tuple(group.name for group in host.extended_groups())
        return cls(
            host.name,
            login.hostname or host.name,
            login.port,
            login.username,
            login.platform,
            groups,
            {key: value for key, value in host.items() if key in wanted},
            {key: value for key, value in (login.extras or {}).items() if key in EXTRAS},
            site_of(groups),
        )

    @property
    def digest(self) -> bytes:
        """What tells this description of a host from every other one."""
        content = pickle.dumps([getattr(self, one.name) for one in fields(self)])
        return hashlib.blake2b(content, digest_size=16).digest()

    def with_login(self, login: Login) -> Host:
        """A host of the worker's own, which logs in with what the worker knows."""
        extras = {**self.extras, **login.extras()}
        options = ConnectionOptions(extras=extras)
        data = dict(self.data)
        if login.sudo_password:
            data["sudo_password"] = login.sudo_password
        return Host(
            self.name,
            hostname=self.hostname,
            port=self.port,
            username=login.username or self.username,
            password=login.password,
            platform=self.platform,
            groups=ParentGroups([Group(name) for name in self.groups]),
            data=data,
            connection_options={LOGIN: options},
            defaults=Defaults(),
        )
