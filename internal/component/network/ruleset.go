package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ruleset is what nft -j lists, as far as it matters here: chains in their
// order, and their rules.
type ruleset struct {
	chains []*chain
}

type chainKey struct{ family, table, name string }

type chain struct {
	chainKey
	kind, hook, policy string // empty for a chain that has no hook
	rules              []rule
}

type rule struct {
	handle     int
	comment    string
	statements []map[string]json.RawMessage
}

type nftObject struct {
	Chain *struct {
		Family, Table, Name, Type, Hook, Policy string
	}
	Rule *struct {
		Family, Table, Chain, Comment string
		Handle                        int
		Expr                          []map[string]json.RawMessage
	}
}

// parseRuleset reads the output of one nft -j that listed one or more things.
func parseRuleset(output []byte) (ruleset, error) {
	var rs ruleset
	decoder := json.NewDecoder(bytes.NewReader(output))
	for {
		var doc struct{ Nftables []nftObject }
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return rs, nil
		}
		if err != nil {
			return ruleset{}, fmt.Errorf("parse the output of nft: %w", err)
		}
		for _, object := range doc.Nftables {
			rs.add(object)
		}
	}
}

func (rs *ruleset) add(o nftObject) {
	switch {
	case o.Chain != nil:
		key := chainKey{o.Chain.Family, o.Chain.Table, o.Chain.Name}
		rs.chains = append(rs.chains, &chain{chainKey: key, kind: o.Chain.Type, hook: o.Chain.Hook, policy: o.Chain.Policy})
	case o.Rule != nil:
		c, ok := rs.find(chainKey{o.Rule.Family, o.Rule.Table, o.Rule.Chain})
		if !ok {
			return
		}
		c.rules = append(c.rules, rule{handle: o.Rule.Handle, comment: o.Rule.Comment, statements: o.Rule.Expr})
	}
}

func (rs ruleset) find(key chainKey) (*chain, bool) {
	for _, c := range rs.chains {
		if c.chainKey == key {
			return c, true
		}
	}
	return nil, false
}

// maxJumps bounds the search through jumps; nft itself allows 16.
const maxJumps = 16

// drops tells whether a packet that no rule accepts is dropped or rejected in c:
// by its policy, or by a last rule that has no condition.
func (rs ruleset) drops(c *chain, jumps int) bool {
	if c.policy == "drop" {
		return true
	}
	if len(c.rules) == 0 || jumps > maxJumps {
		return false
	}
	unnamed := false
	for _, statement := range c.rules[len(c.rules)-1].statements {
		for kind, body := range statement {
			switch kind {
			case "match", "accept", "return":
				return false
			case "drop", "reject":
				return true
			case "jump", "goto":
				return rs.dropsAt(c, body, jumps+1)
			case "xt":
				// A match or a target of iptables. Old nft does not say which; then
				// letting our traffic pass needlessly is the lesser harm.
				var extension struct{ Type, Name string }
				if err := json.Unmarshal(body, &extension); err != nil || extension.Type == "match" {
					return false
				}
				unnamed = unnamed || extension.Name == "" || extension.Name == "REJECT"
			}
		}
	}
	return unnamed
}

func (rs ruleset) dropsAt(from *chain, body json.RawMessage, jumps int) bool {
	var to struct{ Target string }
	if err := json.Unmarshal(body, &to); err != nil {
		return false
	}
	target, ok := rs.find(chainKey{from.family, from.table, to.Target})
	return ok && rs.drops(target, jumps)
}
