# `make` lists the targets. All of them work in .venv, which they make themselves.

PYTHON ?= python3
DEMO_ARGS ?=
SWEEP_ARGS ?=
BENCH_ARGS ?=
SERVICES ?=
TEST_ARGS ?=
# Three on two cores: tests mostly wait, for a broker or a deadline.
TEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-sweep bench-proxy bench-soak bench-emitter bench-exporter bench-stops bench-detection
.PHONY: bench-switches bench-front bench-chain bench-latency spool-hour stream-gib kill-exporter calibration test-long
.PHONY: bench-privacy bench-slang bench-silence
.PHONY: stack stack-stop stack-test test check dashboards lock clean

# Paths are relative throughout, so that the checkout may lie anywhere, under a name with spaces too.
PY := .venv/bin/python
MADE := .venv/made

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  PYTHON=python3.12 chooses the interpreter of .venv; DEMO_ARGS, SWEEP_ARGS, BENCH_ARGS and TEST_ARGS are handed on:'
	@echo '  make demo DEMO_ARGS="--seconds 60 --json"'

venv: $(MADE) ## .venv with everything that requirements.lock pins, and shadowdrift itself

# An environment of the same interpreter is brought up to date, any other, or half a one, is made anew.
# Packages without a wheel are built with the lock's own setuptools, so that nothing comes in that has no hash.
$(MADE): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'shadowdrift needs Python 3.11 or newer; "$(PYTHON)" is not: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo '"$(PYTHON)" lacks the module venv: on Debian, apt-get install python3-venv' >&2; exit 1; }
	@echo 'venv: making .venv (about 150 MB to fetch, half a minute to a few)'
	@whole='print(sys.version_info, sys.base_prefix)'; \
		[ "$$($(PYTHON) -c "import sys; $$whole")" = "$$($(PY) -c "import pip, sys; $$whole" 2>/dev/null)" ] || \
		$(PYTHON) -m venv --clear .venv
	@awk '/^[^ ]/ { wanted = /^setuptools==/ } wanted' requirements.lock > .venv/setuptools.lock
	$(PY) -m pip install --disable-pip-version-check --require-hashes -r .venv/setuptools.lock
	$(PY) -m pip install --disable-pip-version-check --require-hashes --no-build-isolation -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(MADE)
	@echo 'venv: ready'

demo: venv ## two models, live traffic, drift, and the gauges that show it
	.venv/bin/shadowdrift demo $(DEMO_ARGS)

demo-sweep: venv ## the demo's figures for seeds 1 to 20 of each kind of drift (hours)
	$(PY) -m demo.sweep $(SWEEP_ARGS)

test: venv ## every test; installs real parts where it can, else says what is left out and why
	@$(PY) -m tests.support.real_parts
	$(PY) -m pytest -n $(TEST_WORKERS) --dist worksteal $(TEST_ARGS)

stack: ## all of it in containers, with a stand-in Slack; SERVICES="nginx proxy" starts a chosen part
	@stack/start $(SERVICES)

stack-stop: ## end the stack; its data stays in volumes until `docker compose down --volumes`
	@COMPOSE_PROFILES='*' docker compose --ansi never down --remove-orphans

# Alerts wait 10 s instead of minutes here, and move traffic; what is asked of the stack is in the modules' first lines. It
# begins without a former run's data: drift that is still in Kafka would fire at once, and Alertmanager be silent when it
# comes again. Whoever starts a part later has to name the same settings, or it is made anew with others.
STACK_QUICK := STACK_RULES=./.cache/stack-rules STACK_DRY_RUN=false STACK_ON_FEATURE_DRIFT=alone
stack-test: venv ## the stack anew, its data gone: from drift to the stable model and back, each part restarted under load
	@$(PY) -m tests.stack.quick_rules .cache/stack-rules
	@COMPOSE_PROFILES='*' docker compose --ansi never down --volumes --remove-orphans >/dev/null 2>&1; true
	@$(STACK_QUICK) stack/start $(SERVICES)
	$(STACK_QUICK) SHADOWDRIFT_STACK_TEST=1 $(PY) -m pytest tests/stack/test_running_stack.py \
		tests/stack/test_runbook_commands.py $(TEST_ARGS)

bench-proxy: venv ## the proxy beside nginx and Envoy, healthy and with a hung shadow (under ten minutes)
	$(PY) -m bench.proxy $(BENCH_ARGS)

bench-soak: venv ## the proxy's memory while its shadow hangs for ten minutes
	$(PY) -m bench.soak $(BENCH_ARGS)

bench-emitter: venv ## CPU of the emitter for each event, to a real Kafka (two minutes)
	@$(PY) -m tests.support.real_parts
	$(PY) -m bench.emitter $(BENCH_ARGS)

bench-privacy: venv ## CPU of hiding an event, and of checking a request against its schema (half a minute)
	$(PY) -m bench.privacy $(BENCH_ARGS)

bench-slang: venv ## how soon slang is seen in tickets, and that nothing is without it, seeds 1 to 20 (two minutes)
	$(PY) -m bench.slang $(BENCH_ARGS)

bench-exporter: venv ## what the exporter takes from a real Kafka, what a scrape costs, and Evidently beside it (five minutes)
	@$(PY) -m tests.support.real_parts
	$(PY) -m bench.exporter $(BENCH_ARGS)

bench-stops: venv ## requests cut by 100 stops and 100 restarts of workers under load (some ten minutes)
	$(PY) -m bench.stops $(BENCH_ARGS)

bench-switches: venv ## from a decision to the last request of the former version, and requests failed, over 100 switches (three minutes)
	$(PY) -m bench.switches $(BENCH_ARGS)

bench-front: venv ## the proxy killed 40 times behind nginx, under load: requests failed, and how soon who answers (five minutes)
	$(PY) -m bench.front $(BENCH_ARGS)

bench-detection: venv ## how soon drift is seen, beside Evidently and fixed thresholds (a quarter of an hour)
	$(PY) -m bench.detection $(BENCH_ARGS)

spool-hour: venv ## Kafka away for 1.8 million events: what is lost, and how quick is the replay (five minutes)
	@$(PY) -m tests.support.real_parts
	$(PY) -m bench.spool $(BENCH_ARGS)

kill-exporter: venv ## a hundred kills of exporters on a real Kafka, every gauge compared after each (some 15 minutes)
	@$(PY) -m tests.support.real_parts
	$(PY) -m bench.kills $(BENCH_ARGS)

# They wait for alerts nearly all the time, so two at once take little from each other.
test-long: venv ## the loop with the shipped timings: drift, a slow model, a square wave, silence; the closed loop (20 minutes)
	@$(PY) -m tests.support.real_parts
	SHADOWDRIFT_LONG=1 $(PY) -m pytest -n 2 --dist worksteal \
		tests/e2e/test_the_loop_as_shipped.py tests/e2e/test_shipped_timings.py tests/e2e/test_a_slow_model_as_shipped.py \
		tests/e2e/test_closed_loop.py \
		$(TEST_ARGS)

bench-chain: venv ## from the first drifted request to the stable model and to Slack, stage by stage (some 35 minutes)
	@$(PY) -m tests.support.real_parts
	$(PY) -m bench.chain $(BENCH_ARGS)

bench-latency: venv ## from a model that slows to 530 ms to the stable one, stage by stage (nine minutes)
	@$(PY) -m tests.support.real_parts
	$(PY) -m bench.latency $(BENCH_ARGS)

bench-silence: venv ## alerts in 24 h without drift, switches in an hour of drift that comes and goes, in compressed time (an hour)
	@$(PY) -m tests.support.real_parts
	$(PY) -m bench.silence $(BENCH_ARGS)

stream-gib: venv ## a GiB each way through a worker, in flat memory
	SHADOWDRIFT_STREAM_MIB=1024 $(PY) -m pytest tests/proxy/test_streaming.py

calibration: venv ## the share of small p-values without drift, over 20,000 windows of each shape (ten to twenty minutes)
	SHADOWDRIFT_CALIBRATION_WINDOWS=20000 $(PY) -m pytest tests/exporter/test_calibration.py -rP

check: venv ## lint, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m grafana.dashboards --check

dashboards: venv ## Grafana's dashboards anew, from code
	$(PY) -m grafana.dashboards

# setuptools is named beside the project's own dependencies because it builds what has no wheel, and the project.
lock: ## requirements.lock anew, from pyproject.toml, with the newest versions that fit
	@$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/python -m pip install --disable-pip-version-check --quiet uv
	echo 'setuptools>=77' | .cache/lock/bin/python -m uv pip compile pyproject.toml - --quiet --upgrade \
		--universal --python-version 3.11 --all-extras --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --output-file .cache/lock/packages
	@{ echo '# What shadowdrift runs, demonstrates and is tested on: Python >= 3.11, Linux and macOS. `make lock` makes it anew.'; \
		cat .cache/lock/packages; } > .cache/lock/requirements
	@if grep -n '://' .cache/lock/requirements; then echo 'the lock would name a host' >&2; exit 1; fi
	@mv .cache/lock/requirements requirements.lock

clean: ## .venv and every cache (not state/, which holds keys)
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
