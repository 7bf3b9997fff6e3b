# Few words: run build test lint gen fuzz bench interop, and rig, licenses.

GO       ?= go
FUZZTIME ?= 5s

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     = mvdan.cc/gofumpt@v0.12.0

# The modules besides the main one; each is linted and tested in its folder.
NESTED = tools/apigen interop/go kmstest/example

# Ceilings that the race detector breaks, and cases that it slows; and where such
# tests are.
UNRACED    = Alloc|Warm|^TestWycheproof|Append$$|ReferenceAgrees|^TestCost$$|^TestExcessiveValue$$|^TestSimulationOfManyKeysIsBounded$$|^TestSearchInLongRuns$$|^TestDamagedRun$$|^TestRunsAreMerged$$|^TestAttacks$$|^TestLongPages$$|^TestExplainTypicalDenials$$|^TestMemory$$|^TestGrantsForOthers$$
UNRACED_IN = $(sort $(addprefix ./,$(dir $(shell grep -rlE '^//go:build !race|AllocsPerRun' --include=*_test.go internal policy))))

# How many packages are tested at once: more than there are cores, since some wait.
AT_ONCE = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))

KEYREEVE = $(CURDIR)/bin/keyreeve

.PHONY: run build test lint gen fuzz bench interop rig licenses

# A durable, TLS-protected KMS on 127.0.0.1:4599, its data in ./keyreeve-data.
run: build
	bin/keyreeve serve

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/keyreeve ./cmd/keyreeve

# Everything that needs no client but Go: under five minutes on two cores.
test: lint
	tools/gencheck
	$(GO) run ./tools/licenses -check
	$(GO) test -vet=off -race -p $(AT_ONCE) ./...
	$(GO) test -vet=off -p $(AT_ONCE) -run '$(UNRACED)' $(UNRACED_IN)
	cd tools/apigen && $(GO) test ./...
	cd kmstest/example && $(GO) test ./...

lint:
	@unformatted=$$(gofmt -l cmd internal kmstest policy tools interop) && test -z "$$unformatted" || \
		{ echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	@unformatted=$$($(GO) run $(GOFUMPT) -l cmd internal kmstest policy tools interop) && test -z "$$unformatted" || \
		{ echo "gofumpt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet -tags rig,interop ./...
	$(GO) run $(STATICCHECK) -tags rig,interop ./...
	for module in $(NESTED); do \
		(cd $$module && $(GO) vet ./... && $(GO) run $(STATICCHECK) ./...) || exit 1; \
	done

# The API packages from the pinned models, and what is made from comments. The
# outcome is committed.
gen:
	cd tools/apigen && $(GO) run . -out ../../internal/api
	$(GO) generate ./internal/... ./cmd/...

# Every fuzz target, FUZZTIME each; a target that moved is found again.
fuzz:
	FUZZTIME=$(FUZZTIME) tools/fuzz

bench: build
	$(GO) test -run '^$$' -bench . -benchmem ./...
	bin/keyreeve bench compare

# Real clients against a real server.
interop: build
	interop/run

# A real server is killed while it works, and searched for secrets.
rig: build
	KEYREEVE_BIN=$(KEYREEVE) $(GO) test -tags rig -count 1 -timeout 20m -v ./internal/rig

licenses:
	$(GO) run ./tools/licenses
