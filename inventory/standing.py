"""What a connection keeps for its next script: the session of its login, and the shell that has answered."""

import threading

import paramiko


class Standing:
    """The channels of one connection that wait to be used; at most one of a kind is kept, more are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: paramiko.Channel | None = None
        self._channel: paramiko.Channel | None = None

    def bring(self, session: paramiko.Channel) -> None:
        """The session that the login opened; nothing was started in it yet."""
        with self._lock:
            self._session = session

    def session(self, transport: paramiko.Transport) -> paramiko.Channel | None:
        """The login's session, once, where it still stands on this connection."""
        with self._lock:
            session, self._session = self._session, None
        return _standing(session, transport)

    def take(self, transport: paramiko.Transport) -> paramiko.Channel | None:
        """A shell that still stands on this connection; nobody else gets it until it is kept again."""
        with self._lock:
            channel, self._channel = self._channel, None
        return _standing(channel, transport)

    def keep(self, channel: paramiko.Channel) -> None:
        """It has answered in full and waits for the next script."""
        with self._lock:
            if self._channel is None:
                self._channel = channel
                return
        channel.close()


def _standing(channel: paramiko.Channel | None, transport: paramiko.Transport) -> paramiko.Channel | None:
    if channel is None:
        return None
    if channel.closed or channel.exit_status_ready() or channel.get_transport() is not transport:
        channel.close()
        return None
    return channel
