package kube

import "testing"

func TestChoose(t *testing.T) {
	system := selection{kubeconfig: systemConfig}
	ours := selection{context: boxyardContext}
	tests := []struct {
		name string
		f    facts
		want selection
	}{
		{"kubectl, no config of the user's", facts{systemReadable: true}, system},
		{"kubectl, nothing to read", facts{}, selection{}},
		{"kubectl, the user has a config", facts{systemReadable: true, userConfig: true}, selection{}},
		{"boxyard kubectl", facts{viaBoxyard: true, systemReadable: true, userConfig: true}, system},
		{"boxyard kubectl without the right to read ours", facts{viaBoxyard: true, userConfig: true}, ours},
		{"boxyard kubectl, nothing to read", facts{viaBoxyard: true}, selection{}},
		{"KUBECONFIG", facts{viaBoxyard: true, systemReadable: true, kubeconfig: "x"}, selection{}},
		{"--context", facts{viaBoxyard: true, systemReadable: true, args: []string{"get", "--context", "x"}}, selection{}},
		{"--kubeconfig=", facts{systemReadable: true, args: []string{"--kubeconfig=x", "get"}}, selection{}},
		{"helm --kube-context", facts{viaBoxyard: true, systemReadable: true, args: []string{"--kube-context=x"}}, selection{}},
		{"--context of a command in a pod", facts{systemReadable: true, args: []string{"exec", "p", "--", "x", "--context", "y"}}, system},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := choose(tt.f); got != tt.want {
				t.Errorf("choose(%+v) = %+v, want %+v", tt.f, got, tt.want)
			}
		})
	}
}
