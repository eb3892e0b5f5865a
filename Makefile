# Two commands: `make matrix` runs the study on the embedded lab, `make test` passes every test.
# Both set up what they need first, on Debian 12 as root; nothing is started or enabled.

SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
STEP := @tools/step

# every command of a test is a Python of its own: without bytecode each compiles the project anew, a fifth of its start
unexport PYTHONDONTWRITEBYTECODE

# what the lab, the solutions, the measurements and the tests need of Debian
PACKAGES := \
  apt-utils busybox-static ca-certificates chromium conntrack containerd containernetworking-plugins coturn curl \
  docker-registry etcd-server ethtool faketime gcc gnupg hey iperf3 iproute2 iptables iputils-ping kmod libc6-dev make \
  nebula nftables openssh-client openssh-server openssl php-cli postgresql procps python3 python3-venv redis-server runc \
  skopeo sudo tini umoci util-linux wireguard-go wireguard-tools

# what `make programs` must end with, by folder of programs/; of all other programs it says what to do by hand
FAMILIES := headscale tailscale netbird nebula headscale-2023 tailscale-2024
GET_PROGRAMS := $(PYTHON) -m vpnmesh.lab binaries --install $(FAMILIES:%=--need %)

# what the inner loop leaves out: the lab, NetBox, a browser, simulators
FAST := not live and not netbox and not slow

.DEFAULT_GOAL := help
.PHONY: help setup debian venv engine netbox programs some-programs kube matrix test test-fast check audit fuzz kernel-parts test-kernel test-machine bench bench-peers bench-hosts clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup: debian venv engine  ## install everything into .venv and from Debian, start nothing

debian:
	$(STEP) "Debian packages" tools/debian-packages $(PACKAGES)

venv: uv.lock pyproject.toml
	$(STEP) "Python environment .venv" tools/make-venv

engine: venv
	$(STEP) "impairment engine (C)" $(PYTHON) -m vpnmesh.lab.nfqueue.build

# without a Python that NetBox runs on, its tests are skipped with the reason; whatever else is missing, they fail with it
netbox: venv
	$(STEP) "NetBox for its tests" $(PYTHON) -m tests.netbox.server install || true

programs: setup  ## get or build the VPNs' programs (docs/binaries.md): minutes once, then found
	$(STEP) "programs of the VPNs" $(GET_PROGRAMS)

# what cannot be had is a scenario that is unavailable, or a test that is skipped with its reason (in CI: fails)
some-programs: setup
	$(STEP) "programs of the VPNs, built here where no release can be had" $(GET_PROGRAMS) || [ $$? -le 2 ]

# what the Go module proxy serves must be there after set-up; what no registry serves is a row with the reason
REQUIRED := headscale-direct,headscale-relay,netbird-direct,netbird-relay

kube: setup  ## build Kubernetes' programs once (about 8 minutes): the API test and real clusters need them
	$(STEP) "programs of Kubernetes" $(PYTHON) -m vpnmesh.lab binaries --install --only kubernetes --need kubernetes

matrix: setup some-programs  ## build the lab, run the paper's scenarios on real packets, print the result; OPTIONS="--..." for others
	@# exit code 3: some repetitions failed, which is a result
	$(PYTHON) -m workflows.full_matrix $(or $(OPTIONS),--require $(REQUIRED)) || [ $$? -eq 3 ]

test: setup some-programs netbox check  ## pass every check and every test
	@echo "==> every test; a line per file"
	@$(PYTHON) -m pytest -n $$(( 2 * $$(nproc) )) --maxprocesses 12 --dist loadfile

test-fast: setup check  ## pass every check and every test that needs no lab, NetBox or browser: the inner loop
	@echo "==> the fast tests; a line per file"
	@$(PYTHON) -m pytest -n auto --dist loadfile -m "$(FAST)"

# Debian's kernel is unpacked below build/kernel and never installed; QEMU starts nothing by being there
kernel-parts: venv
	$(STEP) "emulator" tools/debian-packages e2fsprogs qemu-system-x86 busybox-static kmod
	$(STEP) "stock kernel" tools/kernel-parts build/kernel

test-kernel: kernel-parts some-programs  ## chosen live tests on Debian's stock kernel in an emulator: netem, WireGuard, VLANs (minutes)
	@echo "==> tests on a stock kernel"
	@$(PYTHON) -m tests.kernel

check:  ## ruff, format, mypy, import contracts
	$(STEP) "ruff" $(VENV)/bin/ruff check .
	$(STEP) "format" $(VENV)/bin/ruff format --check .
	$(STEP) "types" $(VENV)/bin/mypy
	$(STEP) "import contracts" $(VENV)/bin/lint-imports --no-logo

audit: venv  ## known holes in what programs are built from, and what is not audited, with the reason
	$(PYTHON) -m tests.audit

fuzz: venv  ## 20,000 wrong inputs to every reader; SEED=N for other ones (docs/testing.md)
	nice -n 10 $(PYTHON) -m tests.fuzz --cases 20000 --seed $(or $(SEED),0)

# a node that is a machine: emulated, so slow, and no part of `make test`; its disk stays in the user's cache
MACHINE_PACKAGES := debootstrap e2fsprogs qemu-system-x86
test-machine: setup  ## boot Debian with systemd as a node, measure, reboot it in mid-run, and list all that is on it
	$(STEP) "what makes and emulates a machine" tools/debian-packages $(MACHINE_PACKAGES)
	$(STEP) "a machine's disk" tools/machine-image
	VPNMESH_MACHINE=$$(tools/machine-image | tail -n 1 | tr -d ' ') $(PYTHON) -m pytest -rA tests/machine

bench: setup  ## print ratios: lab against bare ip, pods against bare VXLAN and real pods, time spent measuring, engine error
	$(PYTHON) -m bench

bench-peers: setup  ## print our tasks on 50 SSH hosts beside bare paramiko, pyinfra and ansible-core (installed for it)
	$(PYTHON) -m bench peers

bench-hosts: setup  ## print seconds, memory, threads and open files of a controller with 50, 200 and 1000 SSH hosts
	$(PYTHON) -m bench hosts

clean:  ## take down a standing lab and remove what set-up and runs made here
	-$(PYTHON) -m vpnmesh.lab down
	rm -rf $(VENV) build
