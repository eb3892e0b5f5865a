"""What may pass between VLANs, as policy and as the configuration of each kind of firewall."""
