package controlplane

import "strings"

// uncached are the kinds of objects of which kube-apiserver keeps no watch cache. A cache spares etcd where many read and
// watch the same objects, and costs a second copy of them and a clock that goes off every second, for each kind. These
// are the kinds that seldom change and have a watcher or two: a list is read from etcd, which is in the same process, and
// a watch is etcd's own, without bookmarks, as upstream has it for events (pkg/kubeapiserver/default_storage_factory_builder.go).
func uncached() []string {
	return []string{
		"limitranges",
		"podtemplates",
		"replicationcontrollers",
		"resourcequotas",
		"apiservices.apiregistration.k8s.io",
		"clusterrolebindings.rbac.authorization.k8s.io",
		"clusterroles.rbac.authorization.k8s.io",
		"rolebindings.rbac.authorization.k8s.io",
		"roles.rbac.authorization.k8s.io",
		"controllerrevisions.apps",
		"cronjobs.batch",
		"horizontalpodautoscalers.autoscaling",
		"poddisruptionbudgets.policy",
		"certificatesigningrequests.certificates.k8s.io",
		"clustertrustbundles.certificates.k8s.io",
		"podcertificaterequests.certificates.k8s.io",
		"csidrivers.storage.k8s.io",
		"csinodes.storage.k8s.io",
		"csistoragecapacities.storage.k8s.io",
		"storageclasses.storage.k8s.io",
		"volumeattachments.storage.k8s.io",
		"volumeattributesclasses.storage.k8s.io",
		"customresourcedefinitions.apiextensions.k8s.io",
		"deviceclasses.resource.k8s.io",
		"devicetaintrules.resource.k8s.io",
		"resourceclaims.resource.k8s.io",
		"resourceclaimtemplates.resource.k8s.io",
		"resourceslices.resource.k8s.io",
		"flowschemas.flowcontrol.apiserver.k8s.io",
		"prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
		"ingressclasses.networking.k8s.io",
		"ingresses.networking.k8s.io",
		"networkpolicies.networking.k8s.io",
		"servicecidrs.networking.k8s.io",
		"mutatingadmissionpolicies.admissionregistration.k8s.io",
		"mutatingadmissionpolicybindings.admissionregistration.k8s.io",
		"mutatingwebhookconfigurations.admissionregistration.k8s.io",
		"validatingadmissionpolicies.admissionregistration.k8s.io",
		"validatingadmissionpolicybindings.admissionregistration.k8s.io",
		"validatingwebhookconfigurations.admissionregistration.k8s.io",
		"priorityclasses.scheduling.k8s.io",
		"runtimeclasses.node.k8s.io",
		"storageversions.internal.apiserver.k8s.io",
	}
}

// watchCacheSizes is the value of --watch-cache-sizes: 0 is none, and without a size there is one that grows.
func watchCacheSizes() string { return strings.Join(uncached(), "#0,") + "#0" }
