package nft_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/nft"
)

func TestTheProgramComesFirstInPath(t *testing.T) {
	given := []string{"HOME=/root", "PATH=/payload:/usr/sbin"}
	lent := nft.Lent{Dir: "/payload/nft", Socket: "/run/nft.sock", Path: "/usr/sbin/nft"}
	want := []string{"HOME=/root", "PATH=/payload/nft:/payload:/usr/sbin", "BOXYARD_NFT_SOCKET=/run/nft.sock", "BOXYARD_NFT=/usr/sbin/nft"}
	if d := cmp.Diff(want, lent.Environ(given)); d != "" {
		t.Errorf("Environ (-want +got):\n%s", d)
	}
	if d := cmp.Diff(given, nft.Lent{}.Environ(given)); d != "" {
		t.Errorf("Environ of nothing (-want +got):\n%s", d)
	}
}
