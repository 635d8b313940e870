# `make demo` and `make test` need Python 3.9+, make, npm and the package registries; everything else they make themselves.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
UPLOT := uplot-1.6.32
UPLOT_SHA256 := 4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d
PAGES := static/uplot/uPlot.iife.min.js
ARGS ?=
LIVE ?= 300
# What Python compiles is kept: without it each of the suite's thousands of processes compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := all
.PHONY: all help demo quick test chaos frameworks slurm spark browsers lint windows bare wheel pyz copy server-copy screenshots clean

all: $(PAGES)  ## the pages' chart library, once, where there is a network

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

demo: $(VENV)/run $(PAGES)  ## the whole workflow on this machine, in a browser (ARGS=--check: headless)
	@$(RUN) -m runicorn demo $(ARGS)

quick: $(VENV)/test $(PAGES)  ## what needs no sshd, Chromium or PyTorch and costs little; under a minute on two idle cores
	$(RUN) -m pytest -n 2 --quick $(ARGS)

test: lint $(PAGES)  ## lint, then the tests, on real parts: sshd, Chromium, PyTorch
	@sh tests/support/need.sh
	@# In a fresh clone the tests are compiled once, not by each of the five at the same time.
	@ls tests/*/__pycache__/test_*.pyc >/dev/null 2>&1 || $(RUN) -m pytest --collect-only -qq >/dev/null || true
	@# Five at a time on two cores, as most wait half of their time for other processes; the slowest files first (tests/support/order.py). What fails beside others for want of time
	@# is tried once more alone, and named; what is wrong fails again.
	$(RUN) -m pytest -n 5 --dist loadfile --no-loadscope-reorder $(ARGS) || { printf '\nOnce more, one at a time: what failed.\n'; $(RUN) -m pytest -v --last-failed --last-failed-no-failures none --maxfail 3 $(ARGS); }

chaos: $(VENV)/test $(PAGES)  ## the long fault runs, and the rows of long tables that `make test` leaves out
	@sh tests/support/need.sh
	@sh tests/support/need.sh servers
	@# First the rows of tables whose like is in `make test`, then the runs that need the machine for themselves.
	$(RUN) -m pytest -m long -n 2 --dist loadfile $(ARGS); long=$$?; $(RUN) -m pytest -m chaos $(ARGS) && exit $$long

frameworks: $(PAGES)  ## large frameworks (Lightning, Transformers, Keras, Hydra …), each set of versions in .ci/frameworks in an environment of its own
	@sh tests/support/need.sh
	@for pins in .ci/frameworks/*.txt; do set=$$(basename $$pins .txt); $(MAKE) --no-print-directory build/frameworks/$$set/done && \
		case $$set in wandb) tests=tests/wandb;; *) tests="tests --ignore tests/wandb";; esac; \
		echo "With $$pins:" && build/frameworks/$$set/bin/python -m pytest $$tests -m frameworks -n 2 $(ARGS) || exit 1; done

build/frameworks/%/done: .ci/frameworks/%.txt setup.cfg | $(VENV)/run
	$(PYTHON) -m venv build/frameworks/$*
	build/frameworks/$*/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test$(if $(filter wandb,$*),$(comma)frameworks)]' -c $<
	@touch $@

slurm: $(VENV)/test $(PAGES)  ## jobs of a real Slurm on this machine: cancelled, preempted, requeued (installs Debian's slurmd, slurmctld, munge)
	@sh tests/support/need.sh slurm
	$(RUN) -m pytest -m slurm -n 2 $(ARGS)

spark: $(VENV)/test $(PAGES)  ## the dataset made by a real Spark in local mode, in an environment of its own (installs Debian's Java 17; 500 MB)
	@sh tests/support/need.sh spark
	@[ -x build/spark/bin/python ] || $(PYTHON) -m venv build/spark
	build/spark/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,spark]'
	build/spark/bin/python -m pytest tests/transfer/test_spark.py -m spark $(ARGS)

comma := ,
FLOOR := @mdn/browser-compat-data@8 acorn@8 acorn-walk@8 css-tree@3 es-check@9 eslint@10 eslint-plugin-compat@7

browsers: $(VENV)/test $(PAGES)  ## the pages in Firefox, WebKit and Chromium 115, and what needs newer ones (installs Debian's; npm's into build)
	@sh tests/support/need.sh browsers
	@mkdir -p build/floor && npm install --silent --no-audit --no-fund --prefix build/floor $(FLOOR)
	node tests/js/floor.mjs build/floor
	$(RUN) tests/support/browsers.py $(ARGS)

windows: $(VENV)/run $(PAGES)  ## a Windows Python under Wine: checks, tests, then a user's day over a real sshd (LIVE=300 s of it live); kept in build/windows
	@sh tests/support/need.sh windows
	@$(PIP) psutil
	$(RUN) tests/support/windows_python.py build/windows tests/support/windows_checks.py
	$(RUN) tests/support/windows_python.py build/windows tests/support/windows_tests.py
	$(RUN) tests/support/windows_walk.py build/windows $(LIVE)

TSC := build/lint/node_modules/.bin/tsc

lint: $(VENV)/test  ## ruff, mypy over what is annotated; eslint and tsc over the pages where npm is
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(TSC) && build/lint/node_modules/.bin/eslint -c .ci/eslint.config.mjs --cache --cache-location build/lint/eslint.json static && \
		$(TSC) -p .ci/tsconfig.json --incremental --tsBuildInfoFile build/lint/tsc.json; \
		else echo "the pages are not looked at: npm is not installed" >&2; fi

$(TSC):
	@mkdir -p build/lint && npm install --silent --no-audit --no-fund --prefix build/lint eslint@9 typescript@5.9

bare: $(VENV)/test $(PAGES)  ## proof that the server side and the copies need the standard library only
	$(RUN) -m pytest tests/house/test_house.py tests/house/test_packaging.py -k "standard_library or site_packages or bare" $(ARGS)

wheel: $(VENV)/run $(PAGES)  ## dist/runicorn-*.whl and the source archive
	@$(PIP) 'setuptools >= 77'
	@rm -rf build/lib build/bdist.* && mkdir -p dist
	@$(RUN) -c "from setuptools import build_meta as b; print(b.build_sdist('dist'), b.build_wheel('dist'), sep='\n')" | tail -2

pyz: $(VENV)/run $(PAGES)  ## dist/runicorn.pyz: one file with everything inside, for any Python 3.9+
	@$(RUN) .ci/pack.py pyz

copy: $(VENV)/run $(PAGES)  ## dist/runicorn-copy: a folder with everything inside, for any Python 3.9+
	@$(RUN) .ci/pack.py copy

server-copy: $(VENV)/run  ## dist/runicorn-server-copy: the writer and the manifest alone, for any Python 3.8+
	@$(RUN) .ci/pack.py server-copy

screenshots: $(VENV)/test $(PAGES)  ## the pictures in docs/images
	$(RUN) tests/support/screenshots.py $(ARGS)

# Debian keeps the module venv apart from Python.
$(VENV)/run: setup.cfg
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } || \
		{ echo "$(PYTHON) has no venv module: install it (Debian: apt install python3-venv), then run make again" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(VENV)/test: $(VENV)/run
	$(PIP) --editable '.[test]'
	@touch $@

# The archive is checked before anything in it is used; npm only carries it.
$(PAGES):
	@command -v npm >/dev/null || { echo "uPlot is fetched with npm, which is not installed: install Node.js, or copy static/uplot/ from a machine that ran make" >&2; exit 1; }
	@mkdir -p build static/uplot
	@cd build && npm pack --silent uplot@$(UPLOT:uplot-%=%) >/dev/null || { echo "npm could not fetch $(UPLOT): is there a network? A copy of static/uplot/ from another machine works too" >&2; exit 1; }
	@$(PYTHON) -c "import hashlib,sys; sys.exit(hashlib.sha256(open('build/$(UPLOT).tgz','rb').read()).hexdigest() != '$(UPLOT_SHA256)' and 'build/$(UPLOT).tgz is not the archive this project pins; nothing was unpacked')"
	@tar xzf build/$(UPLOT).tgz -C build package/dist/uPlot.iife.min.js package/dist/uPlot.min.css package/LICENSE
	@cp build/package/LICENSE build/package/dist/uPlot.min.css static/uplot/
	@cp build/package/dist/uPlot.iife.min.js $@

clean:  ## what was built; .venv stays
	rm -rf build dist *.egg-info static/uplot
