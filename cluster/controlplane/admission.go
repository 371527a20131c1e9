package controlplane

import (
	"encoding/json"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/kubernetes/plugin/pkg/admission/eventratelimit"
	eventsv1alpha1 "k8s.io/kubernetes/plugin/pkg/admission/eventratelimit/apis/eventratelimit/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

func admissionFile(c config.Cluster) string { return c.Run("admission.yaml") }

// writeAdmission bounds events: one that is written by a controller in a loop is a write to etcd like any other.
func writeAdmission(c config.Cluster) error {
	configuration, err := admission()
	if err != nil {
		return err
	}
	data, err := yaml.Marshal(configuration)
	if err != nil {
		return err
	}
	if err := os.WriteFile(admissionFile(c), data, 0o600); err != nil {
		return fmt.Errorf("write the admission configuration: %w", err)
	}
	return nil
}

func admission() (*apiserverv1.AdmissionConfiguration, error) {
	events, err := json.Marshal(&eventsv1alpha1.Configuration{
		TypeMeta: metav1.TypeMeta{Kind: "Configuration", APIVersion: eventsv1alpha1.SchemeGroupVersion.String()},
		Limits: []eventsv1alpha1.Limit{
			// Far above what the pods of one node cause when all of them start at once.
			{Type: eventsv1alpha1.ServerLimitType, QPS: 500, Burst: 5000},
			{Type: eventsv1alpha1.NamespaceLimitType, QPS: 100, Burst: 1000},
		},
	})
	if err != nil {
		return nil, err
	}
	return &apiserverv1.AdmissionConfiguration{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionConfiguration", APIVersion: apiserverv1.SchemeGroupVersion.String()},
		Plugins: []apiserverv1.AdmissionPluginConfiguration{{
			Name: eventratelimit.PluginName, Configuration: &runtime.Unknown{Raw: events, ContentType: runtime.ContentTypeJSON},
		}},
	}, nil
}
