# Two commands do everything on a fresh machine with Python 3.11: `make study` and `make test`.
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
WORKERS ?= 2
SLOW := $(RUN) -m pytest -m "slow and not endurance and not faults" --timeout 1500
# Tests that kill what runs, at a stage that they wait for: one at a time.
ALONE := tests/study_runs/test_killed.py tests/cluster tests/distributed tests/test_exactly_once.py

.PHONY: study test test-all test-faults endurance lint ui dashboards clean
.DEFAULT_GOAL := help

help:
	@echo "make study      the scaling study at laptop size: events, pretraining, finetuning, break-even (16 minutes)"
	@echo "make test       lint, types, layers and the fast tests (8 minutes on two cores)"
	@echo "make test-all   the slow end-to-end tests as well: submitted jobs, killed processes"
	@echo "make endurance  a study of two hundred trials, killed -9 thirty times, and all that ends badly with jets (half an hour)"
	@echo "make test-faults  several hosts, as network namespaces (root): lost, cut off, slow, late; Slurm (half an hour)"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make clean      remove the virtual environment and caches; results stay"
	@echo "make dashboards  Prometheus, and Grafana where it is installed, on loopback, with the boards of dashboards/"
	@echo "make ui         the MLflow pages of what has run, on http://127.0.0.1:5000"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	# The reference of the Particle Transformer. Its model needs torch alone; what else it asks for, unused, is a gigabyte.
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps weaver-core==0.5.3
	touch $@

study: $(READY)
	$(RUN) studies/scaling.py --preset laptop

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

test: lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "not slow and not endurance and not faults" --numprocesses $(WORKERS)

test-all: lint
	@which chromium || which google-chrome || apt-get install -y -qq chromium || $(RUN) -m playwright install --with-deps chromium \
		|| echo "no Chromium here: the tests that open the report in a browser are left out"
	@which promtool || apt-get install -y -qq --no-install-recommends prometheus \
		|| echo "no Prometheus here: the tests of boards and alerts on a real one are left out"
	@which initdb || ls /usr/lib/postgresql/*/bin/initdb || apt-get install -y -qq --no-install-recommends postgresql \
		|| echo "no PostgreSQL here: the tests of MLflow for a group are left out"
	failed=0; \
	OMP_NUM_THREADS=1 $(SLOW) --numprocesses $(WORKERS) $(ALONE:%=--ignore %) || failed=1; \
	$(SLOW) $(ALONE) || failed=1; \
	exit $$failed

# Debian starts the services that it installs, unless policy-rc.d forbids it.
SLURM := slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
test-faults: $(READY)
	@which slurmctld || ( policy=/usr/sbin/policy-rc.d; \
		test -e $$policy || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; }; \
		apt-get install -y -qq --no-install-recommends $(SLURM) ) || echo "no Slurm here: the test of jobs on a real one is left out"
	$(RUN) -m pytest -m "faults" -s

endurance: $(READY)
	$(RUN) -m pytest -m "endurance" -s

dashboards: $(READY)
	$(VENV)/bin/python dashboards/start.py

ui: $(READY)
	$(VENV)/bin/breakeven ui

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
