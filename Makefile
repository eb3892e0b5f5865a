# Two commands: `make matrix` runs the study on the embedded lab, `make test` passes every test.
# Both set up what they need first, on Debian 12 as root; nothing is started or enabled.

SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python

# what the lab, the solutions, the measurements and the tests need of Debian
PACKAGES := \
  ca-certificates chromium conntrack coturn curl ethtool faketime gcc iperf3 iproute2 iptables iputils-ping kmod libc6-dev make \
  nebula nftables openssh-client openssh-server openssl php-cli postgresql procps python3 python3-venv \
  redis-server sudo tini util-linux wireguard-go wireguard-tools

.DEFAULT_GOAL := help
.PHONY: help setup debian venv engine matrix test check bench clean

help:  ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup: debian venv engine  ## install everything into .venv and from Debian, start nothing

debian:
	@tools/debian-packages $(PACKAGES)

venv: uv.lock pyproject.toml
	@tools/make-venv

engine: venv
	@$(PYTHON) -m vpnmesh.lab.nfqueue.build

matrix: setup  ## build the lab, run the quick matrix on real packets, print the result
	@# exit code 3: some repetitions failed, which is a result; a scenario that is missing after set-up is an error
	$(PYTHON) -m workflows.full_matrix --require-all || [ $$? -eq 3 ]

test: setup check  ## pass every check and every test
	$(PYTHON) -m pytest

check:  ## ruff, format, mypy, import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

bench: setup  ## print ratios: lab against bare ip, pods against bare VXLAN, time spent measuring, engine error
	$(PYTHON) -m bench

clean:  ## take down a standing lab and remove what set-up and runs made here
	-$(PYTHON) -m vpnmesh.lab down
	rm -rf $(VENV) build
