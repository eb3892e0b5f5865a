"""The lab's own delay line for kernels without netem: one C file, compiled where it runs."""
