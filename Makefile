# make run and make test are all the set-up there is. `make help` lists the targets.

GO       ?= go
FUZZTIME ?= 10s

export DESTDIR PREFIX SYSCONFDIR INIT BUS_GROUP

# One static binary that needs nothing of the system but the kernel. The commit goes into
# it where git can tell it (not in an unpacked archive, not in a foreign checkout).
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(if $(shell git rev-parse HEAD 2>/dev/null),true,false)

.DEFAULT_GOAL := run

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 13

.PHONY: run
run: kdbus ## build, start a private bus and show messages crossing it; on a terminal it stays up
	./kdbus demo

.PHONY: kdbus
kdbus: ## build ./kdbus
	$(BUILD) -o kdbus ./cmd/kdbus

.PHONY: helper
helper: ## build ./kdbus-launch-helper, which starts the services of a system bus without systemd
	$(BUILD) -o kdbus-launch-helper ./cmd/kdbus-launch-helper

.PHONY: test
test: lint gcc ## vet, gofmt, staticcheck, and all tests under the race detector
	CGO_ENABLED=1 $(GO) test -race ./...

.PHONY: conformance
conformance: ## install Debian packages (as root) and run foreign programs and suites on the bus
	conformance/install
	$(GO) test -tags conformance -count=1 -p 1 -timeout 25m ./conformance/... ./bench/... .
	$(GO) test -count=1 -run '^TestConnectsAndDisconnects$$' ./dbus1 # in full only without the race detector

.PHONY: bench
bench: kdbus ## measure kdbus, dbus-daemon and dbus-broker side by side
	./kdbus bench --compare

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

.PHONY: lint
lint: ## go vet, gofmt, staticcheck
	$(GO) vet ./...
	$(GO) vet -tags conformance ./...
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted, run gofmt -w on:" >&2; echo "$$unformatted" >&2; exit 1; fi
	$(GO) tool staticcheck -tags conformance ./...

# packaging/install says what the variables are: DESTDIR, PREFIX, SYSCONFDIR, INIT, BUS_GROUP.
.PHONY: install
install: kdbus helper ## binary, setuid helper, manual pages, completions, service files; see packaging/install
	@packaging/install install

.PHONY: uninstall
uninstall: ## remove what make install has put there
	@packaging/install uninstall

# The race detector is linked by a C compiler. Where there is none, root gets it from
# Debian and others are told.
.PHONY: gcc
gcc:
	@command -v $$($(GO) env CC) >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "no C compiler for the race detector: installing gcc" >&2; \
			apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev; \
		else \
			echo "The race detector needs a C compiler: apt-get install gcc libc6-dev" >&2; exit 1; \
		fi; }
