"""Any number of devices, made through NetBox's ORM: for the paging test and for the benchmark."""

SCRIPT = """
from ipaddress import ip_address, ip_network
from django.contrib.contenttypes.models import ContentType
from dcim.models import Device, DeviceRole, DeviceType, Interface, Manufacturer, Site
from ipam.models import VLAN, IPAddress, Prefix, VLANGroup

count = {count}
site = Site.objects.create(name="fleet", slug="fleet")
maker = Manufacturer.objects.create(name="generic", slug="generic")
kind = DeviceType.objects.create(manufacturer=maker, model="Node", slug="node")
role = DeviceRole.objects.create(name="worker", slug="k8s-worker")
group = VLANGroup.objects.create(name="fleet", slug="fleet")
numbers = range(1, count + 1)
networks = list(ip_network("10.201.0.0/16").subnets(new_prefix=29))[: count]
vlans = VLAN.objects.bulk_create(VLAN(vid=n, name=f"v{{n}}", group=group) for n in numbers)
Prefix.objects.bulk_create(Prefix(prefix=str(net), vlan=vlan) for net, vlan in zip(networks, vlans))
devices = Device.objects.bulk_create(
    Device(name=f"edge{{n}}", site=site, device_type=kind, role=role, status="active") for n in numbers
)
ports = Interface.objects.bulk_create(
    Interface(device=device, name="eth0", type="other", mode="access", untagged_vlan=vlan, _site=site)
    for device, vlan in zip(devices, vlans)
)
managed = Interface.objects.bulk_create(
    Interface(device=device, name="mgmt0", type="other", mgmt_only=True, _site=site) for device in devices
)
about = dict(assigned_object_type=ContentType.objects.get_for_model(Interface), status="active")
IPAddress.objects.bulk_create(
    IPAddress(address=f"{{net[2]}}/29", assigned_object_id=port.pk, **about) for net, port in zip(networks, ports)
)
first = ip_address("10.200.0.0")
primary = IPAddress.objects.bulk_create(
    IPAddress(address=f"{{first + n}}/32", assigned_object_id=port.pk, **about) for n, port in zip(numbers, managed)
)
for device, address in zip(devices, primary):
    device.primary_ip4 = address
Device.objects.bulk_update(devices, ["primary_ip4"])
"""


def script(count: int) -> str:
    """The program that makes so many devices with two interfaces and addresses, a VLAN and a prefix each."""
    return SCRIPT.format(count=count)
