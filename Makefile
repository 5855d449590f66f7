# Targets of pointsman. `make help` lists them.

GO       ?= go
BIN      := bin
LIVES    ?= 4000
# The same lives on every machine; 0 draws others, as make soak does.
SEED     ?= 20261123
# Simulated hours of bursts that all vantages see.
HOURS    ?= 10000
FUZZTIME ?= 20s
# More flags of go test for make test.
TESTFLAGS ?=
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0

# Debian packages that the tests want, each with the program or file that shows that it is here.
WANT_BIND   := bind9=named bind9-dnsutils=dig
WANT_KNOT   := knot=knotd
WANT_PDNS   := pdns-server=pdns_server sqlite3=sqlite3 pdns-backend-sqlite3=/usr/lib/*/pdns/libgsqlite3backend.so
WANT_SECOND := nsd=nsd $(WANT_KNOT) knot-dnsutils=kdig $(WANT_PDNS) unbound=unbound knot-resolver=kresd
WANT_PAGES  := chromium=chromium fonts-dejavu-core=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf groff-base=groff
WANT_JAVA   := default-jdk-headless=javac
WANT_NODE   := nodejs=node npm=npm
WANT_BENCH  := dnsperf=dnsperf gdnsd=gdnsd

# Folders of clients and suites of other makers that Node runs, at the versions of the lock files in them.
NODE_CLIENTS := internal/lab/alicloud/testdata/npm internal/lab/tablestore/testdata/npm

# Build tags of the modules of libdns that may be used; the default binary has none.
LIBDNS := libdns_powerdns,libdns_rfc2136

# $(call missing,WANTS) is shell that prints the packages of the list that are not here.
missing = for want in $(1); do what="$${want\#*=}"; \
	PATH="$$PATH:/usr/sbin:/sbin" command -v "$$what" >/dev/null || ls $$what >/dev/null 2>&1 || printf '%s ' "$${want%%=*}"; done

# $(call install,WANTS) installs what is missing, where this user may. Debian starts a server that it
# installs unless /usr/sbin/policy-rc.d forbids it: ours stands there only meanwhile.
define install
@set -e; missing="$$($(call missing,$(1)))"; \
if [ -z "$$missing" ]; then echo "deps: all here"; \
elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	if ! [ -e /usr/sbin/policy-rc.d ]; then \
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT; trap 'exit 1' INT TERM; \
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; fi; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
else echo "deps: cannot install here; as root: apt-get install $$missing"; fi
endef

.DEFAULT_GOAL := help
.PHONY: help build run demo man deps test check race fuzz bench soak mutate clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/pointsman and bin/pointsman-lab
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/pointsman ./cmd/pointsman-lab

run: build ## start the lab: two Tablestore clusters, a controller, two vantages, a client that writes; Ctrl-C ends all
	$(BIN)/pointsman-lab run

demo: build ## two minutes of faults, with every answer and every write recorded; fails when a promise breaks
	$(BIN)/pointsman-lab demo
	$(BIN)/pointsman-lab providers

man: build ## manual pages into bin/man1
	$(BIN)/pointsman man $(BIN)/man1

deps: ## install the Debian packages and the clients of Node that tests want (where this user may)
	$(call install,$(WANT_BIND) $(WANT_SECOND) $(WANT_PAGES) $(WANT_JAVA) $(WANT_NODE))
	@for dir in $(NODE_CLIENTS); do ( cd "$$dir" && { [ node_modules/.package-lock.json -nt package-lock.json ] || ! command -v npm >/dev/null || \
		npm ci || { rm -rf node_modules; echo "deps: cannot install the clients in $$dir here; with a registry: npm ci"; }; } ); done

test: deps ## all tests; names what it had to leave out
	@set -e; skip=; \
	lacks="$$($(call missing,$(WANT_BIND)))"; \
	if [ -n "$$lacks" ]; then skip='^TestBIND'; \
		echo "left out: tests against a real BIND (TestBIND...): install $$lacks"; fi; \
	lacks="$$($(call missing,$(WANT_KNOT)))"; \
	if [ -n "$$lacks" ]; then skip="$${skip:+$$skip|}^TestKnot"; \
		echo "left out: tests against a real Knot (TestKnot...): install $$lacks"; fi; \
	lacks="$$($(call missing,$(WANT_PDNS)))"; \
	if [ -n "$$lacks" ]; then skip="$${skip:+$$skip|}^TestPowerDNS"; \
		echo "left out: tests against a real PowerDNS (TestPowerDNS...): install $$lacks"; fi; \
	lacks="$$($(call missing,$(WANT_BIND) $(WANT_SECOND)))"; \
	if [ -n "$$lacks" ]; then skip="$${skip:+$$skip|}^TestSecondaries"; \
		echo "left out: tests of real secondaries (TestSecondaries...): install $$lacks"; fi; \
	lacks="$$($(call missing,$(WANT_PAGES)))"; \
	if [ -n "$$lacks" ]; then skip="$${skip:+$$skip|}^TestChromium"; \
		echo "left out: reports drawn by a browser (TestChromium...): install $$lacks"; fi; \
	lacks="$$($(call missing,$(WANT_JAVA)))"; \
	if [ -n "$$lacks" ]; then skip="$${skip:+$$skip|}^TestRealJava"; \
		echo "left out: what a Java says of its own cache (TestRealJava...): install $$lacks"; fi; \
	lacks="$$($(call missing,$(WANT_NODE)))"; \
	if [ -z "$$lacks" ]; then for dir in $(NODE_CLIENTS); do \
		[ -d "$$dir/node_modules" ] || lacks="$${lacks:+$$lacks and }what npm ci installs in $$dir"; done; fi; \
	if [ -n "$$lacks" ]; then skip="$${skip:+$$skip|}^TestNode"; \
		echo "left out: clients and suites of other makers against the lab's clouds (TestNode...): install $$lacks"; fi; \
	if [ -n "$$skip" ]; then set -- -skip "$$skip"; fi; \
	echo "$(GO) test $(TESTFLAGS) ./... $$*"; $(GO) test $(TESTFLAGS) -timeout 15m "$$@" ./...; \
	echo "providers by modules of libdns"; \
	$(GO) test $(TESTFLAGS) -timeout 5m -tags $(LIBDNS) "$$@" ./dnsctl -run LibDNS; \
	echo "10 x $(LIVES) random lives of an instance"; \
	$(GO) test -timeout 40m ./internal/failover -run 'TestHistories|TestQuorum|TestMeta' -rapid.checks=$(LIVES) -rapid.seed=$(SEED) -rapid.nofailfile; \
	echo "$(HOURS) simulated hours of bursts around ride_out, one vantage lying"; \
	$(GO) test -timeout 40m ./internal/failover -run 'TestRideOut' -hours $(HOURS)

check: ## vet, staticcheck, gofumpt, tests under the race detector
	$(GO) vet ./...
	$(GO) vet -tags failpoint ./...
	$(GO) vet -tags $(LIBDNS) ./dnsctl
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(STATICCHECK) -tags $(LIBDNS) ./dnsctl
	@out="$$($(GO) run $(GOFUMPT) -l .)"; if [ -n "$$out" ]; then echo "gofumpt would change:"; echo "$$out"; exit 1; fi
	$(MAKE) race

race: ## the tests under the race detector
	$(GO) test -race -timeout 20m ./...
	$(GO) test -race -timeout 5m -tags $(LIBDNS) ./dnsctl -run LibDNS

fuzz: ## every fuzz target for FUZZTIME (20s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; done; done

bench: build ## benchmarks, the figures of the demo, how fast and at what cost the lab's controller works, and its rivals
	$(call install,$(WANT_BIND) $(WANT_SECOND) $(WANT_BENCH))
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(BIN)/pointsman-lab demo --clusters http
	$(BIN)/pointsman-lab bench
	$(BIN)/pointsman-lab bench --rivals

mutate: ## break each guard in four ways and see a test fail
	./internal/failover/mutate.sh

soak: mutate ## long runs: a million lives, every action at every failpoint, a thousand kills of the replicator, every fuzz target for two minutes
	POINTSMAN_CRASH=all $(MAKE) LIVES=100000 SEED=0 HOURS=100000 test
	$(GO) test -timeout 60m ./replication -run 'TestKills' -kills 1000 -kill-seed 0 -v
	$(MAKE) FUZZTIME=2m fuzz

clean: ## remove what was built and what the lab left
	rm -rf $(BIN) run
