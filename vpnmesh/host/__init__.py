"""Plans for a node that any solution may need: services, files, kernel settings, certificates, pods."""
