"""A TCP relay and its clients, run on lab nodes by the placement test: packets of a TUN device over TCP.

It stands for any relay that carries packets over TCP (DERP, ZeroTier's proxy): what TCP sends again is never lost.
Usage: tcp_relay.py relay PORT | tcp_relay.py client RELAY PORT DEVICE ADDRESS/PREFIX
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x1, 0x1000


def receive(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise SystemExit(0)
        data += part
    return data


def packets(stream: socket.socket) -> bytes:
    (size,) = struct.unpack("!H", receive(stream, 2))
    return receive(stream, size)


def copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)


def relay(port: int) -> None:
    listener = socket.create_server(("", port), backlog=2)
    ends = [listener.accept()[0] for _ in range(2)]
    for end in ends:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=copy, args=ends, daemon=True).start()
    copy(ends[1], ends[0])


def client(host: str, port: int, device: str, address: str) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(("ip", "address", "add", address, "dev", device), check=True)
    subprocess.run(("ip", "link", "set", device, "mtu", "1280", "up"), check=True)
    stream = socket.create_connection((host, port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send() -> None:
        while True:
            packet = os.read(tun, 2000)
            stream.sendall(struct.pack("!H", len(packet)) + packet)

    threading.Thread(target=send, daemon=True).start()
    while True:
        os.write(tun, packets(stream))


if __name__ == "__main__":
    if sys.argv[1] == "relay":
        relay(int(sys.argv[2]))
    else:
        client(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
