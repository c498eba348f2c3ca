# OpenStack in a box. The interface of 2015, and what a stranger needs:
#
#   make all   [-jN] [BUILD_VERSION=1.0] [RELEASE=2026.1]    build every image (the default)
#   make test  [-jN] [BUILD_VERSION=1.0]    test every image
#   make clean       [BUILD_VERSION=1.0]    remove every image
#   make demo   [RELEASE=2026.1]    from an empty machine to a login prompt on a provisioned bare-metal node
#   make setup     only install the tool: .venv/bin/osbox
#   make quick     linters, types, units, golden cases: no root, no engine, on all processors
#   make check     everything that holds before a change lands: the quick tests, then images, then end to end
#   make check-full  the same, and the long matrices of which `make check` takes samples; it goes on where it ended
#   make lock      resolve requirements.in anew into requirements.lock, and that of upstream's test suites in src/osbox/judges
#
# osbox reads BUILD_VERSION from the environment; N of -jN bounds how many images are built or tested at the same time.

PYTHON ?= python3
BUILD_VERSION ?= latest
export BUILD_VERSION
# Text is UTF-8 whatever the locale, also in tests and benches (src/osbox/utf8.py).
export PYTHONUTF8 = 1

# What a person has set for other environments would lead pip, or Python itself, out of .venv, or make it do nothing, or compile
# its modules at each start. Index, proxy and certificates stay as they are set.
unexport PYTHONHOME PYTHONPATH PYTHONUSERBASE VIRTUAL_ENV CONDA_PREFIX UV_PYTHON UV_PROJECT_ENVIRONMENT
unexport PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_PLATFORM PIP_PYTHON_VERSION PIP_ABI PIP_IMPLEMENTATION
unexport PIP_REQUIRE_VIRTUALENV PIP_IGNORE_INSTALLED PIP_NO_DEPS PIP_DEPS PIP_CONSTRAINT PIP_REQUIREMENT PIP_EDITABLE PIP_DOWNLOAD
# The same in a pip.conf: the command line goes before it, and so does the environment.
PIP = PIP_DRY_RUN=0 PIP_REQUIRE_HASHES=0 .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --no-user --target= --root=/ --prefix="$(CURDIR)/.venv"

OSBOX = .venv/bin/osbox
# In a recipe MAKEFLAGS holds -jN; a bare -j is no number, and osbox's own default is meant.
JOBS = $(filter-out -j,$(filter -j%,$(MAKEFLAGS)))

# `make clean all -j5` means: one after the other, five images at a time.
.NOTPARALLEL:
.PHONY: all test clean demo quick check check-full setup lock
.DEFAULT_GOAL = all

all: setup
	@$(OSBOX) build $(JOBS) $(if $(RELEASE),--release $(RELEASE))

test: setup
	@$(OSBOX) test $(JOBS)

clean: setup
	@$(OSBOX) clean

demo: setup
	@$(OSBOX) demo $(if $(RELEASE),--release $(RELEASE))

# TESTS="…": more words for pytest (docs/testing.md), for example TESTS=--again.
PYTEST = .venv/bin/python -m pytest --durations=20
FULL_SECONDS = 10800

quick: setup
	@$(PYTEST) -m quick --numprocesses=auto --dist=worksteal $(TESTS)

# Two lanes side by side, each with an engine and a state directory of its own (tests/lanes.py), and only when the quick ones passed.
LANES = --numprocesses=auto --dist=loadscope
check: quick
	@$(PYTEST) -m 'not quick' $(LANES) $(TESTS)

check-full: quick
	@$(PYTEST) -m 'not quick' --full $(LANES) --session-timeout=$(FULL_SECONDS) $(TESTS)

bench: setup
	@.venv/bin/python bench/gate.py $(if $(BASE),--base $(BASE))

setup: .venv/installed

# The environment is made anew when the system's Python changed under it, and filled again when the lock changes.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Error: osbox needs Python 3.11 or newer as $(PYTHON)" >&2; \
	    echo "Next: apt-get install python3, or name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo "Install $$package (Python's module for virtual environments)"; \
	        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install "$$package"; } >/dev/null; \
	    fi; \
	    $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	        echo "Error: Python's module for virtual environments is missing" >&2; \
	        echo "Next: sudo apt-get install $$package" >&2; exit 1; }; }
	@# Two of them at once: the second waits, and finds it done.
	@exec 9<requirements.lock && flock 9 && \
	if [ -e $@ ] && [ $@ -nt requirements.lock ] && [ $@ -nt pyproject.toml ]; then exit 0; fi; \
	echo "Install osbox and its libraries into .venv"; \
	.venv/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv; \
	{ $(PIP) --require-hashes -r requirements.lock && $(PIP) --no-build-isolation --no-deps -e .; } >.venv/setup.log 2>&1 || { \
	    grep -v ^WARNING: .venv/setup.log | cut -c 1-200 | tail -n 10 >&2; \
	    echo "Error: the Python packages could not be installed; the whole log: .venv/setup.log" >&2; \
	    echo "Next: when pip did not reach its index, see which that is (pip config list); then the same command again" >&2; exit 1; }; \
	touch $@

lock:
	@.venv/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(PIP) --require-hashes -r images/base/uv.lock.txt
	@for wanted in requirements.in src/osbox/judges/requirements.in; do \
	    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	        --upgrade "$$wanted" -o "$${wanted%.in}.lock" || exit 1; \
	done
