package nft

import "strings"

// What the program cmd/nft finds in its environment.
const (
	SocketVariable = "BOXYARD_NFT_SOCKET" // where the keeper listens
	PathVariable   = "BOXYARD_NFT"        // nft(8) itself
)

// Lent says how a part comes by processes of nft that stay. The zero value is for one that starts its own.
type Lent struct {
	Dir    string // has the program cmd/nft, by the name of nft
	Socket string // of the keeper
	Path   string // of nft(8)
}

// Environ returns the environment of a part, so that it finds cmd/nft where it looks for nft. The one given is complete
// otherwise, with a PATH.
func (l Lent) Environ(environment []string) []string {
	if l == (Lent{}) {
		return environment
	}
	out := make([]string, 0, len(environment)+2)
	for _, variable := range environment {
		if path, found := strings.CutPrefix(variable, "PATH="); found {
			variable = "PATH=" + l.Dir + ":" + path
		}
		out = append(out, variable)
	}
	return append(out, SocketVariable+"="+l.Socket, PathVariable+"="+l.Path)
}
