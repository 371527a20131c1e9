package imagesinuse

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func spec(images ...string) corev1.PodSpec {
	s := corev1.PodSpec{}
	for _, image := range images {
		s.Containers = append(s.Containers, corev1.Container{Image: image})
	}
	return s
}

func TestFileFollowsTheAPI(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a"}, Spec: spec("web:v1", "docker.io/library/web:v2")}
	pod.Spec.InitContainers = []corev1.Container{{Image: "init"}}
	pod.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "volume"}}}}
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "a"}}
	cron.Spec.JobTemplate.Spec.Template.Spec = spec("cron", "web:v1")
	client := fake.NewClientset(pod, cron)
	file := filepath.Join(t.TempDir(), "images-in-use.json")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, client, "node", file) }()

	await(t, file, `{"images":["cron","docker.io/library/web:v2","init","volume","web:v1"],"volumes":["volume"]}`)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "a"}}
	deployment.Spec.Template.Spec = spec("hello")
	if _, err := client.AppsV1().Deployments("a").Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Pods("a").Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, file, `{"images":["cron","hello","web:v1"]}`)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("left in the directory: %v", left)
	}
}

func TestAnUnchangedFileIsNotWritten(t *testing.T) {
	inUse := file{Images: []string{"a"}}
	file := filepath.Join(t.TempDir(), "images-in-use.json")
	for range 2 {
		if err := write(file, inUse); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(file, inUse); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || !info.ModTime().Equal(time.Unix(1, 0)) {
		t.Errorf("written again: %v, %v", info.ModTime(), err)
	}
}

func await(t *testing.T, file, want string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	got := ""
	for time.Now().Before(deadline) {
		data, _ := os.ReadFile(file)
		if got = string(data); got == want+"\n" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the file is %q, want %q", got, want)
}
