//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boxyard/boxyard/test/harness"
)

// TestOldClients uses Debian 12's docker 20.10 and docker-compose 1.29, unmodified, as many have them.
func TestOldClients(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.up()
	root := t.TempDir()
	build, err := filepath.Abs("../../build")
	if err != nil {
		t.Fatal(err)
	}
	b.sh("tar -xf " + build + "/old-compose.tar -C " + root + " && tar -xf " + build + "/old-docker.tar -C " + root + " ./usr/bin/docker && mkdir -p " + root + "/run/boxyard " + root + "/tmp/app")
	for name, content := range map[string]string{"Dockerfile": oldDockerfile, "docker-compose.yml": oldCompose, "script": oldScript} {
		if err := os.WriteFile(filepath.Join(root, "tmp/app", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := b.sh("unshare --mount sh -ec 'mount --bind /run/boxyard " + root + "/run/boxyard; mkdir -p " + root + "/proc; mount -t proc proc " + root + "/proc; exec chroot " + root + " bash -ex /tmp/app/script' 2>&1")
	for _, want := range []string{"20.10", "docker-compose version 1.29", "hello old", "0.0.0.0:18081->8080/tcp", "all went well"} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
}

const oldDockerfile = `FROM boxyard/base
ARG WHO=old
RUN echo hello $WHO > /greeting
COPY Dockerfile /
CMD ["cat", "/greeting"]
`

const oldCompose = `version: "3.8"
services:
  web:
    build: .
    command: httpd -f -p 8080 -h /
    ports: ["18080:8080"]
    volumes: ["data:/data"]
  other:
    image: boxyard/base
    command: sleep 1000
    depends_on: [web]
volumes:
  data: {}
`

// oldScript goes through what people do. Compose' second up compares the network with what it asked for.
const oldScript = `
export DOCKER_HOST=unix:///run/boxyard/docker.sock HOME=/tmp
cd /tmp/app
docker version
DOCKER_BUILDKIT=0 docker build --tag old:1 .
DOCKER_BUILDKIT=1 docker build --progress plain --tag old:2 .
docker run --rm old:1
docker run --rm old:2
docker run --detach --name c1 --publish 18081:8080 old:1 httpd -f -p 8080 -h /
docker ps
docker exec c1 cat /greeting
docker logs c1
docker stats --no-stream c1
docker cp c1:/greeting /tmp/copied
grep old /tmp/copied
docker stop --time 1 c1
docker start c1
docker commit c1 old:3
docker save --output /tmp/saved.tar old:3
docker load --input /tmp/saved.tar
docker history old:3
docker images
docker rm --force c1
docker rmi old:3
docker network create n1
docker network rm n1
docker volume create v1
docker volume rm v1
docker system df
docker info
docker-compose version
docker-compose up --detach
docker-compose up --detach --scale other=2
docker-compose ps
docker-compose exec -T web cat /greeting
docker-compose logs
docker-compose restart
docker-compose down --volumes
docker image prune --force
docker system prune --force
echo all went well
`
