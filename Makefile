# Boxyard's build. `make` prints the targets.
#
# bin/boxyard is our program with the payload behind it. The payload's binaries
# come from the modules engine, cluster, clients and runtime; each is compressed
# as soon as it is linked, while others still compile.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

export GOWORK := off
export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0

JOBS ?= 3
# zstd's level; make release takes the highest (docs/adr/0042).
LEVEL ?= 12
# Vetting is done by lint; here it would look at all of Kubernetes again.
GOTEST ?= go test -vet=off

runtime := runc containerd-shim-runc-v2 docker-proxy cni/podnet cni/bridge cni/host-local cni/portmap
payload := $(addprefix build/payload/,cluster engine clients docker $(runtime) nft/nft docker-init images.tar versions.json)

# sources DIRECTORY...: what a build of it depends on.
sources = $(shell find $(1) -type f -not -name '*_test.go' -not -path '*/testdata/*' 2>/dev/null)

.PHONY: help
help: ## Print the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- host ----

.PHONY: deps deps-vm deps-moby-suite
deps: ## Install what this host lacks to build, run and test (Debian, root).
	@scripts/deps.sh

deps-vm: deps ## Install what test-vm needs besides: qemu, debootstrap.
	@scripts/deps.sh vm

deps-moby-suite: deps ## Install what moby-suite needs besides: ping.
	@scripts/deps.sh moby-suite

# ---- build ----

.PHONY: build release payload-dir examples
build: deps ## Build bin/boxyard, one file with everything in it.
	@$(MAKE) --no-print-directory -j $(JOBS) bin/boxyard
	@ls -l bin/boxyard | awk '{printf "%s: %.1f MB\n", $$9, $$5 / 1e6}'

release: build ## Build build/release/boxyard, the same compressed as well as zstd can: for those who download it.
	@$(MAKE) --no-print-directory build/release/boxyard
	@ls -l build/release/boxyard | awk '{printf "%s: %.1f MB\n", $$9, $$5 / 1e6}'

payload-dir: deps ## Build build/payload only, for boxyard up --payload-dir.
	@$(MAKE) --no-print-directory -j $(JOBS) $(payload) build/links.stamp build/boxyard

examples: ## Compile the programs that Dockerfiles of the examples and of tests copy.
	@$(MAKE) --no-print-directory examples/hello/bin/web examples/hello/bin/store build/test/server

examples/hello/bin/%: $(call sources,examples/hello/web examples/hello/store)
	go build -ldflags '-s -w' -o $@ ./examples/hello/$*

build/test/server: $(call sources,test/server)
	go build -ldflags '-s -w' -o $@ ./test/server

# Rewritten only when the content changes: a new date alone would link everything anew.
.PHONY: FORCE
build/version: FORCE
	@mkdir -p build
	@scripts/version.sh > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

build/upstream.stamp: scripts/versions.sh engine/go.mod cluster/go.mod clients/go.mod runtime/go.mod
	@mkdir -p build
	scripts/versions.sh > build/upstream.new
	@cmp -s build/upstream.new build/upstream.env && rm build/upstream.new || mv build/upstream.new build/upstream.env
	@touch $@

build/upstream.env: build/upstream.stamp ;

build_program = scripts/build.sh scripts/kubernetes-ldflags.sh build/upstream.env
# The longest first. The others yield to it, so that the processors have work to the end.
build/payload/cluster: $(call sources,cluster) $(build_program)
	scripts/build.sh cluster $@

build/payload/engine: $(call sources,engine) $(build_program)
	nice -n 5 scripts/build.sh engine $@

build/payload/clients build/payload/docker: build/payload/%: $(call sources,clients) $(build_program)
	nice -n 5 scripts/build.sh $* $@

$(addprefix build/payload/,$(runtime)): build/payload/%: runtime/go.mod runtime/go.sum $(build_program)
	nice -n 5 scripts/build.sh $* $@

build/payload/cni/podnet: $(call sources,runtime/podnet)
build/payload/containerd-shim-runc-v2: $(call sources,runtime/shim) scripts/shim-ldflags.sh

build/payload/nft/nft: $(call sources,cmd/nft internal/nft) go.mod go.sum $(build_program)
	scripts/build.sh nft/nft $@

build/pause: $(call sources,runtime/pause) $(build_program)
	scripts/build.sh pause $@

build/boxyard: $(call sources,cmd internal) go.mod go.sum build/version $(build_program)
	scripts/build.sh boxyard $@

build/tools/%: $(call sources,tools internal/payload/archive internal/ociarchive internal/busybox) go.mod go.sum
	go build -o $@ ./tools/$*

build/payload/docker-init: /usr/bin/tini-static
	@mkdir -p $(@D)
	install -m 0755 $< $@

build/payload/images.tar: build/tools/images build/pause /bin/busybox /etc/ssl/certs/ca-certificates.crt build/upstream.env
	@mkdir -p $(@D)
	. build/upstream.env; build/tools/images -pause build/pause -pause-version $$pause -created $$images_time -o $@

build/payload/versions.json: scripts/versions-json.awk build/upstream.env
	@mkdir -p $(@D)
	awk -f $^ > $@

build/links.stamp: Makefile
	@mkdir -p build/payload/cli-plugins
	ln -sfn engine build/payload/dockerd
	ln -sfn engine build/payload/containerd
	ln -sfn engine build/payload/registry
	ln -sfn cluster build/payload/dns
	ln -sfn clients build/payload/kubectl
	ln -sfn clients build/payload/helm
	ln -sfn ../clients build/payload/cli-plugins/docker-buildx
	ln -sfn ../clients build/payload/cli-plugins/docker-compose
	@touch $@

# The compressed frames (tools/pack knows the groups); the cache is build/zstd.
large := $(addprefix build/payload/,cluster clients docker)
build/frames/cluster: $(large) build/tools/pack
build/frames/engine: $(filter-out $(large),$(payload)) build/tools/pack
build/frames/cluster build/frames/engine:
	@mkdir -p $(@D)
	build/tools/pack compress -level $(LEVEL) -group $(@F)
	@touch $@

bin/boxyard: build/boxyard build/frames/cluster build/frames/engine build/links.stamp build/tools/pack
	build/tools/pack write -level $(LEVEL) -program build/boxyard -o $@

build/release/boxyard: bin/boxyard
	build/tools/pack write -level 19 -program build/boxyard -o $@

# Upstream's end-to-end specs, and the images that they use.
e2e_programs := $(addprefix build/e2e/bin/,e2e.test ginkgo agnhost coredns etcd nonewprivs regression-issue-74839 sample-apiserver)

$(e2e_programs): build/e2e/bin/%: e2e/go.mod e2e/go.sum $(call sources,e2e/coredns) scripts/build-e2e.sh scripts/kubernetes-ldflags.sh build/upstream.env
	nice -n 5 scripts/build-e2e.sh $* $@

build/e2e/bin/pause: build/pause
	@mkdir -p $(@D)
	install -m 0755 $< $@

build/e2e/bin/sh: e2e/sh/sh.c
	@mkdir -p $(@D)
	gcc -std=gnu11 -Os -Wall -Wextra -Werror -static -s -o $@ $<

# What upstream's Dockerfile of agnhost installs.
build/e2e/tools.tar: scripts/debian-root.sh
	scripts/debian-root.sh $@ bash bind9-dnsutils curl iperf iproute2 libc-bin netcat-openbsd socat util-linux

build/e2e/shell.tar: scripts/debian-root.sh
	scripts/debian-root.sh -n $@ bash-static

build/e2e/nginx.tar: scripts/debian-root.sh
	scripts/debian-root.sh $@ nginx-light

build/e2e/images.tar: build/tools/e2eimages $(e2e_programs) build/e2e/bin/pause build/e2e/bin/sh build/e2e/shell.tar build/e2e/tools.tar build/e2e/nginx.tar test/conformance/registries.yaml build/upstream.env
	KUBE_TEST_REPO_LIST=test/conformance/registries.yaml build/e2e/bin/e2e.test --list-images > build/e2e/images.txt
	. build/upstream.env; build/tools/e2eimages -images build/e2e/images.txt -programs build/e2e/bin -roots build/e2e -created $$images_time \
		-source "$$(scripts/module-dir.sh e2e k8s.io/kubernetes)" -o $@

# Moby's own integration tests, and the images that they use.
build/moby/bin.stamp: engine/go.mod scripts/build-moby-suite.sh
	nice -n 5 scripts/build-moby-suite.sh build/moby

build/moby/hello: test/mobysuite/hello/hello.c
	@mkdir -p $(@D)
	gcc -std=gnu11 -Os -Wall -Wextra -Werror -static -s -o $@ $<

build/moby/debian.tar: scripts/debian-root.sh
	scripts/debian-root.sh $@ bash dash coreutils grep sed gawk passwd libc-bin util-linux libcap2-bin gcc libc6-dev

build/moby/images-amd64.tar: build/tools/mobyimages build/moby/hello build/moby/debian.tar /bin/busybox build/upstream.env
	. build/upstream.env; build/tools/mobyimages -hello build/moby/hello -debian build/moby/debian.tar -created $$images_time -o $(@D)

# Compose's own end-to-end tests, and the images that they use.
build/compose/bin.stamp: clients/go.mod scripts/build-compose-suite.sh
	nice -n 5 scripts/build-compose-suite.sh build/compose

build/compose/bin/registry: $(call sources,test/registry) build/compose/bin.stamp
	go build -ldflags '-s -w' -o $@ ./test/registry

build/compose/tools.tar: scripts/debian-root.sh
	scripts/debian-root.sh $@ nginx-light curl bash dash coreutils libc-bin

build/compose/images-amd64.tar: $(call sources,tools/composeimages) build/moby/hello build/compose/tools.tar /bin/busybox build/upstream.env
	. build/upstream.env; go run ./tools/composeimages -hello build/moby/hello -tools build/compose/tools.tar -created $$images_time -o $@

compose_suite := build/compose/bin.stamp build/compose/bin/registry build/compose/images-amd64.tar

.PHONY: reproducible
reproducible: build ## Build again in another directory with an empty build cache, compare the hashes.
	scripts/reproducible.sh

# ---- test ----

# Packages whose dependencies are small enough to compile a second time for the race detector.
race_packages := ./cmd/... ./internal/... ./tools/... ./examples/... ./test/architecture/... ./test/conformance/... ./test/mobysuite/... ./test/composesuite/... ./test/suite/... ./test/bench/... ./test/load/... ./test/demo/... ./test/server/... ./test/ledger/...

.PHONY: test test-unit test-integration test-faults test-vm demo
test: test-unit test-integration test-moby test-compose test-conformance ## Run the unit and the integration tests, and a part of upstreams' own.

test-unit: deps examples ## Run the unit tests, with the race detector where that is affordable.
	CGO_ENABLED=1 $(GOTEST) -race $(race_packages)
	cd clients && $(GOTEST) ./...
	cd runtime && $(GOTEST) ./podnet && CGO_ENABLED=1 $(GOTEST) -tags seccomp -ldflags "-extldflags '$$(../scripts/shim-ldflags.sh)'" ./shim/...
	cd engine && $(GOTEST) ./...
	cd cluster && $(GOTEST) ./...

# Clients as Debian 12 has them.
build/old-docker.tar: scripts/debian-root.sh
	scripts/debian-root.sh -n $@ docker.io

build/old-compose.tar: scripts/debian-root.sh
	scripts/debian-root.sh $@ docker-compose bash coreutils grep libc-bin

test-integration: build examples build/old-docker.tar build/old-compose.tar ## Run the packed binary in confined instances (root).
	$(GOTEST) -tags integration -count=1 -timeout 45m ./internal/component/network ./internal/nft/... ./test/harness/... ./test/integration/...

test-faults: build examples ## Kill parts under load, fill disks, send crowds, and see it all come back (root, long).
	$(GOTEST) -tags faults -count=1 -timeout 120m -v ./test/faults/...

test-vm: deps-vm build examples ## Try it on a Debian 12 with systemd in qemu (root, slow).
	$(GOTEST) -tags vm -count=1 -timeout 240m -v ./test/vm/...

.PHONY: oci-conformance
oci-conformance: build ## Run the OCI's suite against the registry (root).
	$(GOTEST) -tags integration -count=1 -v -run 'TestRegistry$$/^(on|OCI_conformance)$$' ./test/integration/

test-moby: build deps-moby-suite build/moby/bin.stamp build/moby/images-amd64.tar
	go run ./test/mobysuite -socket

moby-suite: build deps-moby-suite build/moby/bin.stamp build/moby/images-amd64.tar ## Run moby's own API tests; FOCUS='...' (root, long).
	go run ./test/mobysuite -focus "$${FOCUS:-}" $(FLAGS)

.PHONY: compose-suite test-compose
test-compose: build $(compose_suite)
	go run ./test/composesuite -part

compose-suite: build $(compose_suite) ## Run Compose's own end-to-end tests; FOCUS='...' (root, long).
	go run ./test/composesuite -focus "$${FOCUS:-}" $(FLAGS)

SUITE ?= conformance
RUN ?= 1
.PHONY: conformance test-conformance e2e moby-suite test-moby
e2e: deps ## Build upstream's end-to-end specs and the images that they use.
	@$(MAKE) --no-print-directory -j $(JOBS) build/e2e/images.tar

# FOCUS is a regular expression with any characters: it goes by the environment.
conformance: build e2e ## Run upstream's specs; SUITE=conformance|sample|networkpolicy|storage, RUN=1, FOCUS='...' (root, hours).
	go run ./test/conformance -suite '$(SUITE)' -run '$(RUN)' -focus "$${FOCUS:-}" $(FLAGS)

test-conformance: build e2e ## Run a sample of upstream's specs (root).
	go run ./test/conformance -suite sample -fresh -batch 120

# What the benchmark compares with, as Debian has it.
build/bench.stamp: scripts/build-bench.sh scripts/debian-root.sh
	scripts/build-bench.sh
	touch $@

# Stock Kubernetes, of the versions that Boxyard has.
build/bench-kubernetes.stamp: scripts/build-bench-kubernetes.sh scripts/kubernetes-ldflags.sh cluster/go.mod cluster/go.sum e2e/go.mod e2e/go.sum runtime/go.mod runtime/go.sum build/upstream.env
	nice -n 5 scripts/build-bench-kubernetes.sh build/bench/kubernetes
	touch $@

.PHONY: bench
bench: release examples build/bench.stamp build/bench-kubernetes.stamp ## Measure Boxyard beside its peers, write docs/performance.md; ONLY='...' (root, two hours).
	go run ./test/bench -only "$${ONLY:-}" $(FLAGS)

demo: build examples ## Build, run, deploy, reach, update: the whole way on examples/hello (root).
	go run ./test/demo

# ---- quality ----

.PHONY: lint
lint: deps ## Check formatting, go.mod files and code in every module.
	@scripts/lint.sh

.PHONY: clean install-less
clean: ## Remove what was built; the caches of Go stay.
	rm -rf bin build/e2e build/payload build/frames build/zstd build/tools build/boxyard build/pause build/*.stamp build/version build/upstream.env

install-less: payload-dir ## Put a bare boxyard without payload into bin, for work on it.
	install -D -m 0755 build/boxyard bin/boxyard-bare
	@echo 'bin/boxyard-bare up --payload-dir build/payload'
