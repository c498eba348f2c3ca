"""The way of a network boot, walked as a node would: frames, DHCP, TFTP, HTTP, iPXE, and why a hop is
broken."""
