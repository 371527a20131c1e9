// Package networkpolicy enforces NetworkPolicies (networking.k8s.io/v1) on this
// node. It compiles them, with the pods and namespaces that they select, into
// the nft table "inet boxyard-policy", which is its own and nobody else's: the
// rules are in the kernel and hold while this process is away.
//
// compile is a pure function from objects to a ruleset; a transaction is the
// difference of two rulesets, or all of one that replaces the table at once. The
// controller watches only policies as long as there are none.
//
// What is seen where: the chains run after kube-proxy has put an endpoint in the
// place of a Service and before anything is masqueraded, so a rule sees the pod
// or the client itself. Forwarded packets pass the egress rules of their source
// and the ingress rules of their destination; packets to the node's own
// addresses pass the egress rules of the pod that sent them; what processes of
// the node send is always let in, as the kubelet's probes must be. Two pods on
// the bridge meet these chains because bridged packets are sent through them
// (net.bridge.bridge-nf-call-iptables, kept on by the daemon's component network).
package networkpolicy
