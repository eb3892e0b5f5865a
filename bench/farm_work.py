"""What every host of a farm is asked, and the file that it is to hold: the same work for each side of a benchmark."""

COMMANDS = (("hostname",), ("uname", "-r"), ("cat", "/proc/loadavg"))
GUARDED = "/srv/guarded.conf"


def text_for(name: str) -> str:
    """What the guarded file of a host holds: a kilobyte, with what a shell would stumble over."""
    return f"# {name}\n" + "".join(f"key{number} = 'it''s \"{name}\" $(no)'\n" for number in range(30))
