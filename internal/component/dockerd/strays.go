package dockerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

// bridgeName is the form of the names that dockerd gives (moby daemon/libnetwork/drivers/bridge, config's default).
var bridgeName = regexp.MustCompile(`^br-[0-9a-f]{12}$`)

// bridge is one of the kernel's, with a name as dockerd gives them.
type bridge struct {
	name string
	used bool // something is attached to it
}

// vethName is the form of the names of the ends of a container's link (moby daemon/libnetwork/netutils,
// GenerateIfaceName with the bridge driver's prefix and length); those of pods have a digit more.
var vethName = regexp.MustCompile(`^veth[0-9a-f]{7}$`)

// clearNetworks takes away networks that were being made: records of which the half is missing, bridges without any
// record, and what the rules of both leave in dockerd's tables; and links of containers that were not moved to them.
func clearNetworks(ctx context.Context, o Options) error {
	gone, err := clearOrphans(networksFile(o), o.Bridge, deleteLink)
	if err != nil {
		return err
	}
	recorded, err := Links(o.Layout)
	if err != nil {
		return err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list network interfaces: %w", err)
	}
	others := filepath.Join(o.Layout.RunOf(name), "other-bridges")
	known, err := os.ReadFile(others)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return fmt.Errorf("read whose bridges these are: %w", err)
	}
	stray, foreign := strays(bridges(links), recorded, strings.Fields(string(known)), first)
	var errs []error
	for _, name := range slices.Concat(stray, unmoved(links)) {
		errs = append(errs, deleteLink(name))
	}
	if gone = append(gone, stray...); len(gone) > 0 && o.NFT != "" {
		errs = append(errs, forget(ctx, o.NFT, gone))
	}
	errs = append(errs, atomicfile.Write(others, []byte(strings.Join(foreign, "\n")), 0o600))
	return errors.Join(errs...)
}

// strays are bridges of which dockerd has no record, because it was killed before it wrote one. What such a name
// does not say is which Docker it is from. So each launch keeps, in known, the bridges that are not its own: one that
// came later was made by it. At the first launch since the boot all of them are somebody else's. foreign is what
// known becomes.
func strays(present []bridge, recorded, known []string, first bool) (stray, foreign []string) {
	for _, b := range present {
		switch {
		case slices.Contains(recorded, b.name):
		case first || b.used || slices.Contains(known, b.name):
			foreign = append(foreign, b.name)
		default:
			stray = append(stray, b.name)
		}
	}
	return stray, foreign
}

func bridges(links []netlink.Link) []bridge {
	used := map[int]bool{}
	for _, l := range links {
		used[l.Attrs().MasterIndex] = true
	}
	var found []bridge
	for _, l := range links {
		if l.Type() == "bridge" && bridgeName.MatchString(l.Attrs().Name) {
			found = append(found, bridge{l.Attrs().Name, used[l.Attrs().Index]})
		}
	}
	return found
}

// unmoved names one end of each container's link of which both ends are here: the other belongs into a container's
// namespace, to which dockerd moves it in the next moment.
func unmoved(links []netlink.Link) []string {
	byIndex := map[int]*netlink.LinkAttrs{}
	for _, l := range links {
		if a := l.Attrs(); l.Type() == "veth" && vethName.MatchString(a.Name) && a.NetNsID < 0 {
			byIndex[a.Index] = a
		}
	}
	var names []string
	for _, a := range byIndex {
		if peer := byIndex[a.ParentIndex]; peer != nil && peer.ParentIndex == a.Index && a.Index < peer.Index {
			names = append(names, a.Name)
		}
	}
	return names
}

// deleteLink is content when there is no such interface.
func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

// forget deletes what dockerd's tables keep of networks that are gone. It flushes them when it starts, which leaves
// chains and the elements of maps.
func forget(ctx context.Context, nft string, bridges []string) error {
	var errs []error
	for _, family := range []string{"ip", "ip6"} {
		listed, err := run(ctx, nft, "", "--stateless", "list", "table", family, dockerTable)
		if err != nil {
			continue // no such table
		}
		script := forgetRules(listed, family, bridges)
		if script == "" {
			continue
		}
		_, err = run(ctx, nft, script, "-f", "-")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// forgetRules makes the script: the elements first, because they refer to the chains. Each of these is of one network
// and ends with its bridge's name (moby's nftabler, chainFilterFwdIn and its like).
func forgetRules(listed, family string, bridges []string) string {
	var elements, chains strings.Builder
	var inMap string
	block := regexp.MustCompile(`^\t(map|chain) (\S+) \{`)
	for line := range strings.SplitSeq(listed, "\n") {
		if m := block.FindStringSubmatch(line); m != nil {
			inMap = ""
			if m[1] == "map" {
				inMap = m[2]
			} else if _, of, ok := strings.Cut(m[2], "__"); ok && slices.Contains(bridges, of) {
				fmt.Fprintf(&chains, "flush chain %[1]s %[2]s %[3]s\ndelete chain %[1]s %[2]s %[3]s\n", family, dockerTable, m[2])
			}
		}
		for _, b := range bridges {
			if inMap != "" && strings.Contains(line, `"`+b+`" : `) {
				fmt.Fprintf(&elements, "delete element %s %s %s { %q }\n", family, dockerTable, inMap, b)
			}
		}
	}
	return elements.String() + chains.String()
}
