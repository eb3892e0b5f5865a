"""What a solution must have beside speed (paper, section 3.1), and what is known of each VPN."""
