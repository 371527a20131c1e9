# kubernetes-ldflags.sh - sourced after build/upstream.env by what builds upstream's programs that are not in the payload:
# ldflags has Kubernetes' version.
ldflags="-s -w"
minor=${kubernetes#*.}
for module in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags="$ldflags -X $module.gitVersion=v$kubernetes -X $module.gitMajor=${kubernetes%%.*} -X $module.gitMinor=${minor%%.*}"
	ldflags="$ldflags -X $module.gitCommit=v$kubernetes -X $module.gitTreeState=clean -X $module.buildDate=$kubernetes_time"
done
