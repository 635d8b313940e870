# `make demo` and `make test` need Python 3.9+, make, npm and the package registries; everything else they make themselves.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
UPLOT := uplot-1.6.32
UPLOT_SHA256 := 4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d
ARGS ?=

.DEFAULT_GOAL := all
.PHONY: all help demo test lint clean

all: static/uplot/uPlot.iife.min.js  ## the pages' chart library, once, where there is a network

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

demo: $(VENV)/run static/uplot/uPlot.iife.min.js  ## the whole workflow on this machine, in a browser (ARGS=--check: headless)
	@$(RUN) -m runicorn demo $(ARGS)

test: $(VENV)/test static/uplot/uPlot.iife.min.js  ## all tests, on real parts: sshd, Chromium, PyTorch
	@sh tests/need.sh
	$(RUN) -m pytest $(ARGS)

lint: $(VENV)/test  ## ruff
	$(RUN) -m ruff check .

$(VENV)/run: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test: $(VENV)/run
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# The archive is checked before anything in it is used; npm only carries it.
static/uplot/uPlot.iife.min.js:
	@command -v npm >/dev/null || { echo "uPlot is fetched with npm, which is not installed: install Node.js, or copy static/uplot/ from a machine that ran make" >&2; exit 1; }
	@mkdir -p build static/uplot
	@cd build && npm pack --silent uplot@$(UPLOT:uplot-%=%) >/dev/null || { echo "npm could not fetch $(UPLOT): is there a network? A copy of static/uplot/ from another machine works too" >&2; exit 1; }
	@$(PYTHON) -c "import hashlib,sys; sys.exit(hashlib.sha256(open('build/$(UPLOT).tgz','rb').read()).hexdigest() != '$(UPLOT_SHA256)' and 'build/$(UPLOT).tgz is not the archive this project pins; nothing was unpacked')"
	@tar xzf build/$(UPLOT).tgz -C build package/dist/uPlot.iife.min.js package/dist/uPlot.min.css package/LICENSE
	@cp build/package/LICENSE build/package/dist/uPlot.min.css static/uplot/
	@cp build/package/dist/uPlot.iife.min.js $@

clean:  ## what was built; .venv stays
	rm -rf build dist *.egg-info static/uplot
