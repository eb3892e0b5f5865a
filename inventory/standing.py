"""The shell that a connection keeps: it has answered, and waits for the next script."""

import threading

import paramiko


class Standing:
    """The shells of one connection that wait for a script; at most one is kept, more are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: paramiko.Channel | None = None

    def take(self, transport: paramiko.Transport) -> paramiko.Channel | None:
        """One that still stands on this connection; nobody else gets it until it is kept again."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is None:
            return None
        if channel.closed or channel.exit_status_ready() or channel.get_transport() is not transport:
            channel.close()
            return None
        return channel

    def keep(self, channel: paramiko.Channel) -> None:
        """It has answered in full and waits for the next script."""
        with self._lock:
            if self._channel is None:
                self._channel = channel
                return
        channel.close()
