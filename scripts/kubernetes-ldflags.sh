# kubernetes-ldflags.sh - sourced after build/upstream.env by what builds Kubernetes' programs: adds their version to
# ldflags.
ldflags=${ldflags:-"-s -w"}
minor=${kubernetes#*.}
for module in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags="$ldflags -X $module.gitVersion=v$kubernetes -X $module.gitMajor=${kubernetes%%.*} -X $module.gitMinor=${minor%%.*}"
	ldflags="$ldflags -X $module.gitCommit=v$kubernetes -X $module.gitTreeState=clean -X $module.buildDate=$kubernetes_time"
done
