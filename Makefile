# `make demo` and `make test` need nothing but Python 3.11 or newer; on Debian and its
# kin they install what Qt needs when run by root.  Everything lands in .venv.

PYTHON ?= python3
VENV ?= .venv
# A process for each core; the tests of a file share what they set up.
PYTEST_ARGS ?= -n auto --dist loadfile
DEMO_ARGS ?=

PIP = $(VENV)/bin/python -m pip

# What Qt's xcb plugin and napari's OpenGL canvas load from the system.
QT_PACKAGES = libgl1 libgl1-mesa-dri libegl1 libopengl0 libdbus-1-3 libfontconfig1 \
	libglib2.0-0 libx11-xcb1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 \
	libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-render0 \
	libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1

# Those that need no data; docs/benchmarks.md has the commands of the others.
BENCHMARKS = coco editing gui_stall import_time painting review slider_repaint \
	starter_speed

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench screenshots clean display virtual-display

help:
	@echo "make demo         segment the bundled sample and look at the result"
	@echo "make test         run the tests"
	@echo "make lint         check style, types and the rings"
	@echo "make format       format the code"
	@echo "make bench        run the benchmarks that need no data"
	@echo "make screenshots  take the pictures of the documentation again"
	@echo "make clean        remove the environment and everything built"

demo: display $(VENV)/.installed-qt
	$(VENV)/bin/napari-maskrcnn demo $(DEMO_ARGS)

# Without a display the tests start Xvfb themselves, see tests/conftest.py.
test: virtual-display $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-lint
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

bench: virtual-display $(VENV)/.installed-test
	@for name in $(BENCHMARKS); do \
		echo "== $$name"; $(VENV)/bin/python benchmarks/$$name.py || exit 1; \
	done

screenshots: virtual-display $(VENV)/.installed-test
	@for script in docs/screenshots*.py; do \
		echo "== $$script"; $(VENV)/bin/python $$script || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist site demo htmlcov .coverage
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f src/napari_maskrcnn/napari.yaml
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------ environment

# Python comes with pip everywhere except in Debian's own packages.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "napari-maskrcnn needs Python 3.11 or newer, but $(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call install-packages,python3-venv); }
	$(PYTHON) -m venv $(VENV)

# One stamp for each dependency group, renewed when what is installed may have changed.
$(VENV)/.installed-%: pyproject.toml hatch_build.py | $(VENV)/bin/python
	$(PIP) install --quiet "pip>=25.1"  # knows --group
	$(PIP) install --editable . --group $*
	@touch $@

# --------------------------------------------------------------- system packages

# $(call install-packages,NAMES): where apt-get and root are at hand install those of
# NAMES that are missing; elsewhere only say so.  Never fails: what really does not
# work shows up in what needs it.
define install-packages
	missing=""; \
	for package in $(1); do \
		dpkg-query --show --showformat='$${db:Status-Status}\n' $$package 2>/dev/null \
			| grep --quiet '^installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then \
			echo "Installing$$missing"; \
			{ apt-get update -qq; \
			  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes \
				--no-install-recommends $$missing; } >/dev/null \
				|| echo "Could not install:$$missing" >&2; \
		else \
			echo "If Qt does not start: sudo apt-get install$$missing" >&2; \
		fi; \
	fi
endef

HAS_DISPLAY = [ "$$(uname -s)" != Linux ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]
HAS_APT = command -v apt-get >/dev/null && command -v dpkg-query >/dev/null

# For a person's own display: Qt's libraries.  Without a display nothing is needed.
display:
	@if [ "$$(uname -s)" = Linux ] && { $(HAS_DISPLAY); } && { $(HAS_APT); }; then \
		$(call install-packages,$(QT_PACKAGES)); \
	fi

virtual-display: display
	@if ! { $(HAS_DISPLAY); } && { $(HAS_APT); }; then \
		$(call install-packages,xvfb $(QT_PACKAGES)); \
	fi
