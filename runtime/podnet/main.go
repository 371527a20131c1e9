// Command podnet is the CNI plugin of the pods' network. It does what upstream's bridge, host-local and portmap do
// with the configuration that Boxyard gives them, in one process instead of three, and with the same files and
// names, so that either can take down what the other has set up. Upstream's portmap is still called for a pod that
// has host ports.
//
// Unlike bridge it makes neither the bridge nor its addresses (the component network has), and it looks for the
// port's carrier every millisecond where bridge looks after 50.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/containernetworking/plugins/pkg/utils/buildversion"
)

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del, Check: check}, version.All, buildversion.BuildString("podnet"))
}
