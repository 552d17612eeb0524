# `make help` lists everything. Only Python 3.11+, make and a package index are needed; the rest is made here.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MEMBERS := libs/common libs/simulator libs/cli libs/client services/gateway services/vault services/verifier
TOOLS  := .venv-tools
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help up demo test drill drill-outage drill-redis drill-load drill-rolling drill-incidents bench-custody bench-use bench-verify check docs protos client observability locks tools audit sbom clean env

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

up: $(READY) ## start the whole stack on loopback, bind a sample key, stay up until Ctrl-C
	@$(BIN)/strongroom up

demo: $(READY) ## the same, and exit 0 once the sample key is connected
	@$(BIN)/strongroom demo

test: $(READY) ## every test, on real servers (about 20 minutes on 2 cores)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

drill: $(READY) ## the long fault drills: every durable step killed 40 times (about a quarter of an hour)
	$(BIN)/python -m pytest -m drill $(ARGS)

drill-outage: $(READY) ## an hour without the exchange, then recovery (ARGS="--minutes 5 --bindings 100")
	$(BIN)/python -m tests.bench.outage $(ARGS)

drill-redis: $(READY) ## ten minutes without Redis, then the events (ARGS="--minutes 1 --binds 20")
	$(BIN)/python -m tests.bench.redis_outage $(ARGS)

drill-load: $(READY) ## half an hour of everything at once, at the exchange's limits (ARGS="--minutes 2")
	$(BIN)/python -m tests.bench.mixed $(ARGS)

drill-rolling: $(READY) ## every process replaced again and again under load, ten minutes (ARGS="--minutes 2")
	$(BIN)/python -m tests.bench.rolling $(ARGS)

drill-incidents: $(READY) ## Vault killed, frozen, sealed; certificates, clock, a ban, a leak: some minutes
	$(BIN)/python -m pytest -s -m "drill or not drill" tests/integration/test_drills.py tests/integration/test_failover.py $(ARGS)

bench-custody: $(READY) ## revocations under load, binds, the audit's cost, a neighbour, some minutes (ARGS=--short, ARGS=--write)
	$(BIN)/python -m tests.bench.custody $(ARGS)

bench-use: $(READY) ## signatures and requests for callers beside their floors, some minutes (ARGS=--short, ARGS=--write)
	$(BIN)/python -m tests.bench.use $(ARGS)

bench-verify: $(READY) ## verification beside its floors, a quarter of an hour (ARGS=--short, ARGS=--write)
	$(BIN)/python -m tests.bench.verify $(ARGS)

check: $(READY) ## what CI checks: format, lint, types, import rules, protos, locks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/protos.py --check
	$(BIN)/python scripts/client_resources.py --check
	$(BIN)/python scripts/observability.py --check
	$(BIN)/python scripts/locks.py --check

docs: $(READY) ## the documentation as a site, in site/; open site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

protos: $(READY) ## regenerate the code of protos/
	$(BIN)/python scripts/protos.py

client: $(READY) ## write the client library's resources anew from openapi.json
	$(BIN)/python scripts/client_resources.py

observability: $(READY) ## write the PrometheusRule and the dashboard anew from deploy/observability/alerts.yaml
	$(BIN)/python scripts/observability.py

locks: $(READY) ## resolve the hashed requirements of each member anew
	$(BIN)/python scripts/locks.py

tools: $(TOOLS)/.ready ## make the environment of checkov and pip-audit, which `make audit` and a test of the manifests use

audit: $(TOOLS)/.ready ## ask the advisory service about every locked package; says so where it cannot be reached
	@$(BIN)/python scripts/audit.py $(TOOLS)

sbom: $(READY) ## write build/sbom/<member>.cdx.json (CycloneDX) and the table of docs/licences.md
	$(BIN)/python scripts/sbom.py build/sbom

clean: ## remove the environment and the caches (the state in .strongroom stays)
	rm -rf $(VENV) $(TOOLS) site build .mypy_cache .ruff_cache .hypothesis .import_linter_cache

env: $(READY) ## make the environment only

$(READY): requirements/bootstrap.txt requirements/dev.txt $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) scripts/environment.py $(VENV) $(MEMBERS)
	@touch $@

$(TOOLS)/.ready: requirements/tools.txt $(READY)
	@$(BIN)/python -m uv venv --quiet --clear $(TOOLS)
	@$(BIN)/python -m uv pip install --quiet --python $(TOOLS)/bin/python --require-hashes -r requirements/tools.txt
	@touch $@
