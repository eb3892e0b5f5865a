"""What can go wrong while a lab is built or torn down."""

from vpnmesh.errors import VpnmeshError


class LabError(VpnmeshError):
    """A step of the lab that failed; everything built before it is gone when this is raised."""

    def __init__(self, step: str, reason: str) -> None:
        self.step = step
        self.reason = reason
        super().__init__(f"lab: step '{step}' failed: {reason}")
