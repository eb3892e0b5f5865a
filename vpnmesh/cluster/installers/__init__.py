"""One module per way to install Kubernetes; each defines `INSTALLER`."""
