# SPDX-License-Identifier: GPL-3.0-or-later
# One target per thing a person wants; the work is done by tests/gates and tests/bed/driver.

# the first Python that starts and is new enough: a shim of pyenv may be there and refuse to start
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
ifeq ($(strip $(PYTHON)),)
$(error Python 3.11 or newer is needed, and no python3, python3.11, python3.12 or python3.13 on PATH is one)
endif
GATES := $(PYTHON) -m tests.gates

.DEFAULT_GOAL := help
.PHONY: help setup test test-full lint unit bench faults bed bed-down demo demo-down lock generated

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## make the Python environments and print where they are
	@$(GATES) setup

test: ## every gate, the unit tests and the tests on the bed (root)
	@$(GATES) test

test-full: ## as test, and what takes too long for every change (root)
	@$(GATES) test-full

lint: ## the gates that need neither root nor a bed
	@$(GATES) lint

unit: ## unit tests and smoke play on every supported ansible-core
	@$(GATES) units

bench: ## measure task times on the bed, write build/bench.json (root)
	@$(GATES) bench

faults: ## every fault at every request on the bed, write build/faults.json (root)
	@$(GATES) faults

bed: ## start Kubernetes with Velero on this machine and say how to use it (root)
	@$(PYTHON) -m tests.bed.driver up

bed-down: ## stop it and leave nothing behind (root)
	@$(PYTHON) -m tests.bed.driver down

demo: ## back up an installation, lose the whole cluster, restore it on a new one, and prove it (root)
	@$(GATES) demo

demo-down: ## stop the demo's bed and leave nothing behind (root)
	@$(GATES) demo-down

generated: ## write anew what is made of the modules' documentation: argument specs and READMEs of the roles
	@$(GATES) generated

lock: ## pin the newest versions that requirements/*.in allow
	@$(GATES) lock
