package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for labels, want := range map[string]string{
		`{"refuse":"yes"}`: `"allowed":false`,
		`{"a":"b"}`:        `"allowed":true`,
	} {
		w := httptest.NewRecorder()
		body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"7","object":{"metadata":{"labels":` + labels + `}}}}`
		validate(w, httptest.NewRequest("POST", "/validate", strings.NewReader(body)))
		if got := w.Body.String(); !strings.Contains(got, want) || !strings.Contains(got, `"uid":"7"`) {
			t.Errorf("%s: %s", labels, got)
		}
	}
}

func TestConvertCrate(t *testing.T) {
	v1 := map[string]any{"apiVersion": "boxyard.test/v1", "spec": map[string]any{"size": 3.0}}
	v2, err := convertCrate(v1, "boxyard.test/v2")
	if err != nil {
		t.Fatal(err)
	}
	back, err := convertCrate(v2, "boxyard.test/v1")
	if err != nil {
		t.Fatal(err)
	}
	if spec, ok := back["spec"].(map[string]any); !ok || spec["size"] != 3.0 || back["apiVersion"] != "boxyard.test/v1" {
		t.Errorf("there and back: %v, by %v", back, v2)
	}
	if _, err := convertCrate(v1, "boxyard.test/v9"); err == nil {
		t.Error("converted to an unknown version")
	}
}
