# Everything a fresh clone needs, on Debian 12 with Python 3.11, make and git.
#   make demo       the main job, end to end, on scikit-learn's iris data
#   make test       the tests, without the long ones
#   make test-long  those
# What is missing comes from apt where this shell may use it; else it is said.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export IMAGESMITH_CACHE ?= $(CURDIR)/.cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-long lint format typecheck bench clean
.DELETE_ON_ERROR:

demo: .venv/.has-demo
	@$(call need,mmdebstrap,mmdebstrap)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/iris.sh

test: SELECTED := not long
test-long: SELECTED := long
test test-long: .venv/.has-test
	@$(call need,mmdebstrap,mmdebstrap)
	@$(call need,skopeo,skopeo)
	@$(call need,dockerd,docker.io)
	@$(call need,docker-registry,docker-registry)
	@$(call need,ip,iproute2)
	@$(call need,buildah,buildah)
	@[ "$(SELECTED)" != long ] || { $(call need,chromium,chromium); }
	@$(call need,podman,podman)
	@# A file stays in one worker: some look at every container of the store.
	$(BIN)/pytest -n 2 --dist loadfile -m "$(SELECTED)"

lint: .venv/.has-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.has-check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/.has-check
	$(BIN)/mypy

bench: .venv/.has-test
	@$(call need,mmdebstrap,mmdebstrap)
	@$(call need,dockerd,docker.io)
	@$(call need,docker-registry,docker-registry)
	@$(call need,ip,iproute2)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .cache dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One environment; each extra of pyproject.toml is added to it when a target needs it.
.venv/.has-%: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[$*]'
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call need,no-such-command,python3-venv); }
	$(PYTHON) -m venv .venv

# $(call need,COMMAND,PACKAGE): install a Debian package unless its command is there.
# No daemon of the package's is started, and one that could not be is no failure.
define need
command -v $(1) >/dev/null 2>&1 || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "installing $(2) from Debian's packages" >&2; \
		{ apt-get update -qq; SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $(2); } >/dev/null 2>&1; \
		command -v $(1) >/dev/null 2>&1 || echo "apt-get could not install $(2)" >&2; \
	else \
		echo "$(2) is missing, and this shell is not root with apt:" \
			"what needs it will say so" >&2; \
	fi; }
endef
