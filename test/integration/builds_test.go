//go:build integration

package integration

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/boxyard/boxyard/test/harness"
)

// TestBuilds has what BuildKit can do through `docker build`, `docker buildx` and `docker buildx bake`, as far as it
// goes by what we configure and join.
func TestBuilds(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.up()
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"stages and ignored files", buildStages},
		{"heredocs", buildHeredocs},
		{"cache mounts", buildCacheMounts},
		{"secrets", buildSecrets},
		{"SSH", buildSSH},
		{"check", buildCheck},
		{"caches", buildCaches},
		{"outputs", buildOutputs},
		{"attestations", buildAttestations},
		{"platforms", buildPlatforms},
		{"bake", buildBake},
		{"progress", buildProgress},
		{"errors", buildErrors},
		{"limit", buildLimit},
		{"dockerd is killed", buildAfterKill},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

// context makes a directory of these files; those whose names end in / are directories.
func (b box) context(files map[string]string) string {
	b.t.Helper()
	dir := b.t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	return dir
}

// try runs docker and gives what came of it.
func (b box) try(args ...string) harness.Result {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{Name: b.Binary, Args: append([]string{"docker"}, args...)})
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

func buildStages(b box) {
	dir := b.context(map[string]string{
		"Dockerfile": `FROM boxyard/base AS make
COPY . /src
RUN ls /src >/list
FROM boxyard/base AS unused
RUN exit 1
FROM boxyard/base
COPY --from=make /list /list
`,
		".dockerignore": "*.log\nsecret\n!kept.log\n",
		"a.txt":         "", "b.log": "", "kept.log": "", "secret/key": "",
	})
	b.docker("build", "--quiet", "--tag", "stages", dir)
	if out := b.ran("stages", "cat", "/list"); out != "Dockerfile\na.txt\nkept.log" {
		b.t.Errorf("the context had:\n%s", out)
	}
	b.docker("build", "--quiet", "--target", "make", "--tag", "stages:make", dir)
	if out := b.ran("stages:make", "ls", "/src/a.txt"); out != "/src/a.txt" {
		b.t.Errorf("the stage make has %q", out)
	}
}

func buildHeredocs(b box) {
	b.docker("build", "--quiet", "--tag", "heredocs", b.contextOf(`FROM boxyard/base
COPY <<one <<two /files/
first
one
second
two
RUN <<END
set -e
cat /files/one /files/two >/both
END
`))
	if out := b.ran("heredocs", "cat", "/both"); out != "first\nsecond" {
		b.t.Errorf("the file has %q", out)
	}
}

func buildCacheMounts(b box) {
	for i, want := range []string{"1", "2"} {
		b.docker("build", "--quiet", "--tag", "mounts", b.contextOf(fmt.Sprintf(`FROM boxyard/base
RUN --mount=type=cache,target=/cache echo %d >>/cache/runs && wc -l </cache/runs >/count
`, i)))
		if out := b.ran("mounts", "cat", "/count"); strings.TrimSpace(out) != want {
			b.t.Errorf("after build %s the cache had %q lines", want, out)
		}
	}
	if out := b.try("run", "--rm", "mounts", "ls", "/cache/runs"); out.Code == 0 {
		b.t.Error("the cache is in the image")
	}
}

// buildSecrets: a secret is there while it is needed, and nowhere afterwards.
func buildSecrets(b box) {
	const secret = "a-secret-of-a-test"
	dir := b.context(map[string]string{
		"Dockerfile": `FROM boxyard/base
RUN --mount=type=secret,id=token wc -c </run/secrets/token >/length
RUN --mount=type=secret,id=variable,env=TOKEN test -n "$TOKEN"
`,
	})
	file := filepath.Join(b.t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{
		Name: b.Binary, Env: []string{"TOKEN=" + secret},
		Args: []string{"docker", "build", "--progress=plain", "--secret", "id=token,src=" + file, "--secret", "id=variable,env=TOKEN", "--tag", "secrets", dir},
	})
	if err != nil || result.Code != 0 {
		b.t.Fatalf("%v, exit code %d\n%s", err, result.Code, result.Output())
	}
	if strings.Contains(result.Output(), secret) {
		b.t.Error("the build's output has the secret")
	}
	if out := b.ran("secrets", "cat", "/length"); strings.TrimSpace(out) != fmt.Sprint(len(secret)) {
		b.t.Errorf("the secret had %q bytes", out)
	}
	if out := b.docker("history", "--no-trunc", "secrets"); strings.Contains(out, secret) {
		b.t.Error("the image's history has the secret")
	}
	archive := filepath.Join(b.t.TempDir(), "image.tar")
	b.docker("save", "--output", archive, "secrets")
	if data, err := os.ReadFile(archive); err != nil || strings.Contains(string(data), secret) {
		b.t.Errorf("the image has the secret: %v", err)
	}
	if out := b.try("build", "--no-cache", "--tag", "never", dir); out.Code == 0 {
		b.t.Error("a secret that is not given is there")
	}
}

// buildSSH forwards the user's agent, which has one key.
func buildSSH(b box) {
	dir := b.contextOf("FROM boxyard/base\nRUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\" && echo \"$SSH_AUTH_SOCK\" >/socket\n")
	out := b.sh(`set -e
eval $(ssh-agent -s -a /run/agent.sock) >/dev/null
trap 'kill $SSH_AGENT_PID' EXIT
ssh-keygen -q -t ed25519 -N '' -f /run/key
ssh-add -q /run/key
` + b.Binary + ` docker build --quiet --ssh default --tag ssh ` + dir)
	if !strings.HasPrefix(out, "sha256:") {
		b.t.Errorf("docker build --ssh: %s", out)
	}
	if out := b.ran("ssh", "cat", "/socket"); !strings.Contains(out, "ssh") {
		b.t.Errorf("SSH_AUTH_SOCK was %q", out)
	}
	if out := b.try("build", "--tag", "never", "--no-cache", dir); out.Code == 0 {
		b.t.Error("without --ssh there was an agent")
	}
}

func buildCheck(b box) {
	good := b.try("build", "--check", b.contextOf("FROM boxyard/base\nRUN true\n"))
	bad := b.try("build", "--check", b.contextOf("FROM boxyard/base as one\nRUN true\n"))
	if good.Code != 0 || bad.Code == 0 || !strings.Contains(bad.Output(), "FromAsCasing") {
		b.t.Errorf("exit codes %d and %d\n%s", good.Code, bad.Code, bad.Output())
	}
}

// buildCaches: a layer that takes a random number is the same one when it comes from a cache.
func buildCaches(b box) {
	b.startRegistryWith("http", "127.0.0.1:5005")
	dir := b.contextOf("FROM boxyard/base\nRUN head -c 16 /dev/urandom | od -An -tx1 >/random\n")
	local := b.t.TempDir()
	const image = "127.0.0.1:5005/cached"
	for name, flags := range map[string][2][]string{
		"local":    {{"--cache-to", "type=local,dest=" + local}, {"--cache-from", "type=local,src=" + local}},
		"registry": {{"--cache-to", "type=registry,ref=127.0.0.1:5005/cache,mode=max"}, {"--cache-from", "type=registry,ref=127.0.0.1:5005/cache"}},
		"inline":   {{"--cache-to", "type=inline"}, {"--cache-from", "type=registry,ref=" + image}},
	} {
		var seen []string
		for _, some := range flags {
			b.docker("builder", "prune", "--all", "--force")
			b.docker(slices.Concat([]string{"buildx", "build", "--quiet", "--tag", image}, some, []string{dir})...)
			b.docker("push", "--quiet", image)
			seen = append(seen, b.ran(image, "cat", "/random"))
			b.forget(image)
		}
		if seen[0] != seen[1] {
			b.t.Errorf("%s: the layer was made anew: %v", name, seen)
		}
	}
	b.forgetBuilds()
}

func buildOutputs(b box) {
	dir := b.contextOf("FROM scratch\nCOPY Dockerfile /from/file\n")
	out := b.t.TempDir()
	b.docker("build", "--quiet", "--output", "type=local,dest="+filepath.Join(out, "files"), dir)
	if data := b.read(filepath.Join(out, "files", "from", "file")); !strings.HasPrefix(data, "FROM scratch") {
		b.t.Errorf("the file has %q", data)
	}
	for kind, want := range map[string]string{"tar": "from/file", "oci": "index.json", "docker": "manifest.json"} {
		file := filepath.Join(out, kind+".tar")
		b.docker("build", "--quiet", "--output", "type="+kind+",dest="+file, dir)
		if names := namesIn(b, file); !slices.Contains(names, want) {
			b.t.Errorf("type=%s has %v", kind, names)
		}
	}
	if b.docker("images", "--quiet", "--filter", "dangling=true") != "" {
		b.t.Error("an output to files left an image")
	}
}

func namesIn(b box, archive string) []string {
	b.t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			b.t.Fatal(err)
		}
		names = append(names, header.Name)
	}
}

// buildAttestations: how it was made is kept with the image; a list of what is in it needs a scanner from Docker Hub.
func buildAttestations(b box) {
	dir := b.contextOf("FROM boxyard/base\nRUN true\n")
	b.docker("build", "--quiet", "--provenance=mode=max", "--tag", "attested", dir)
	type manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	var index struct {
		Manifests []manifest `json:"manifests"`
	}
	archive := filepath.Join(b.t.TempDir(), "image.tar")
	b.docker("build", "--quiet", "--provenance=mode=max", "--output", "type=oci,dest="+archive, dir)
	layout := b.t.TempDir()
	b.sh("tar -xf " + archive + " -C " + layout)
	b.json(&index, b.sh("d=$(grep -o 'sha256:[0-9a-f]*' "+layout+"/index.json | head -1); cat "+layout+"/blobs/sha256/${d#sha256:}"))
	if !slices.ContainsFunc(index.Manifests, func(m manifest) bool {
		return m.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
	}) {
		b.t.Errorf("no attestation in %+v", index)
	}
	if sbom := b.try("build", "--sbom=true", "--tag", "never", dir); sbom.Code == 0 || !strings.Contains(sbom.Output(), "buildkit-syft-scanner") {
		b.t.Errorf("--sbom: exit code %d\n%s", sbom.Code, sbom.Output())
	}
}

// buildPlatforms: files go into an image of any platform; running needs the platform, or an emulator.
func buildPlatforms(b box) {
	b.docker("build", "--quiet", "--platform", "linux/arm64", "--tag", "arm", b.contextOf("FROM scratch\nCOPY Dockerfile /\n"))
	if out := b.docker("image", "inspect", "--platform", "linux/arm64", "--format", "{{.Architecture}}", "arm"); out != "arm64" {
		b.t.Errorf("the image is for %s", out)
	}
	run := b.try("build", "--platform", "linux/arm64", "--tag", "never", b.contextOf("FROM scratch\nCOPY Dockerfile /\nRUN [\"/Dockerfile\"]\n"))
	if run.Code == 0 {
		b.t.Errorf("a program of another platform ran:\n%s", run.Output())
	}
}

func buildBake(b box) {
	dir := b.context(map[string]string{
		"Dockerfile": "FROM boxyard/base\nARG WHO\nRUN echo $WHO >/who\n",
		"docker-bake.hcl": `variable "WHO" { default = "nobody" }
group "default" { targets = ["one", "two"] }
target "one" {
  args = { WHO = WHO }
  tags = ["baked:one"]
}
target "two" {
  inherits = ["one"]
  args = { WHO = "two" }
  tags = ["baked:two"]
}
`,
		"compose.yaml": `services:
  three:
    image: baked:three
    build: {context: ., args: {WHO: three}}
`,
	})
	b.sh("cd " + dir + "; export WHO=one; " + b.Binary + " docker buildx bake -f docker-bake.hcl; " + b.Binary + " docker buildx bake -f compose.yaml three")
	for _, who := range []string{"one", "two", "three"} {
		if out := b.ran("baked:"+who, "cat", "/who"); out != who {
			b.t.Errorf("baked:%s says %q", who, out)
		}
	}
}

func buildProgress(b box) {
	dir := b.contextOf("FROM boxyard/base\nRUN echo to be seen\n")
	plain := b.try("build", "--no-cache", "--progress=plain", "--tag", "shown", dir)
	raw := b.try("build", "--no-cache", "--progress=rawjson", "--tag", "shown", dir)
	quiet := b.try("build", "--no-cache", "--quiet", "--tag", "shown", dir)
	if !strings.Contains(plain.Output(), "to be seen") || !strings.Contains(plain.Output(), "DONE") {
		b.t.Errorf("plain:\n%s", plain.Output())
	}
	if !strings.Contains(raw.Output(), `"vertexes"`) || !strings.HasPrefix(quiet.Output(), "sha256:") {
		b.t.Errorf("rawjson:\n%s\nquiet:\n%s", raw.Output(), quiet.Output())
	}
}

// buildErrors: each says what is wrong where, and leaves no image.
func buildErrors(b box) {
	for name, test := range map[string]struct{ dockerfile, want string }{
		"no instruction":      {"FRM boxyard/base\n", "unknown instruction: FRM (did you mean FROM?)"},
		"no FROM":             {"RUN true\n", "no build stage in current context"},
		"nothing":             {"", "the Dockerfile cannot be empty"},
		"a flag":              {"FROM boxyard/base\nCOPY --form=x a b\n", "unknown flag: --form (did you mean from?)"},
		"no such file":        {"FROM boxyard/base\nCOPY none /\n", "\"/none\": not found"},
		"a command fails":     {"FROM boxyard/base\nRUN exit 42\n", "exit code: 42"},
		"no such command":     {"FROM boxyard/base\nRUN no-such-command\n", "not found"},
		"a circle":            {"FROM boxyard/base AS a\nCOPY --from=b / /\nFROM boxyard/base AS b\nCOPY --from=a / /\n", "circular dependency"},
		"no such stage":       {"FROM boxyard/base\nCOPY --from=nowhere.invalid/x / /\n", "nowhere.invalid"},
		"a base that is away": {"FROM nowhere.invalid/x\n", "nowhere.invalid"},
		"an argument":         {"FROM boxyard/base\nCOPY\n", "COPY requires at least two arguments"},
	} {
		result := b.try("build", "--tag", "never", b.contextOf(test.dockerfile))
		if result.Code == 0 || !strings.Contains(result.Output(), test.want) {
			b.t.Errorf("%s: exit code %d, and no %q in:\n%s", name, result.Code, test.want, result.Output())
		}
	}
	if out := b.docker("images", "--quiet", "never"); out != "" {
		b.t.Errorf("an image is left: %s", out)
	}
	if result := b.try("build", "--tag", "never", "/no/such/directory"); result.Code == 0 || !strings.Contains(result.Output(), "not found") {
		b.t.Errorf("no context: exit code %d\n%s", result.Code, result.Output())
	}
}

// buildLimit: what is kept of builds has a limit, and a policy.
func buildLimit(b box) {
	if out := b.docker("buildx", "inspect"); !strings.Contains(out, "GC Policy rule#0") {
		b.t.Errorf("there is no policy:\n%s", out)
	}
}

// buildAfterKill: what dockerd's successor takes away of builds that were cut short is not what others have left, and
// it finds BuildKit's records, which have no documented place.
func buildAfterKill(b box) {
	dir := b.context(map[string]string{"Dockerfile": "FROM boxyard/base\nRUN date > /at\nRUN --mount=type=cache,target=/kept date > /kept/at\n"})
	b.docker("build", "--quiet", dir)
	b.sh("cd /var/lib/boxyard/docker/buildkit && test -s containerd-overlayfs/metadata_v2.db && test -s history_c8d.db")
	history := b.docker("buildx", "history", "ls", "--format", "{{.Ref}}")
	old := b.status().PIDOf("dockerd")
	if n, err := b.Kill("dockerd"); err != nil || n != 1 {
		b.t.Fatalf("%d processes killed: %v", n, err)
	}
	b.succeeded("dockerd", old)
	if result := b.try("build", "--progress=plain", dir); strings.Count(result.Output(), "CACHED") != 2 {
		b.t.Errorf("the steps were not found again:\n%s", result.Output())
	}
	if now := b.docker("buildx", "history", "ls", "--format", "{{.Ref}}"); !strings.HasSuffix(now, history) {
		b.t.Errorf("the history was\n%s\nand is\n%s", history, now)
	}
}
