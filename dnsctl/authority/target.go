package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// CheckTarget says whether a managed name may ever be pointed at a target: it
// is a name, not the owner itself, on the owner's list where there is one, and
// has an address (or is managed too) if it stands in one of our zones.
func (s *Server) CheckTarget(name failover.RecordName, target failover.Target) error {
	v := s.view.Load()
	if v.tree.managed(name) == nil {
		return fmt.Errorf("%w: %s", ErrNotServed, name)
	}
	if err := v.onList(name, target); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, err := v.tree.checkTarget(name, target); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

func (v *view) onList(name failover.RecordName, target failover.Target) error {
	list := v.targets[canonical(name)]
	if len(list) == 0 || slices.ContainsFunc(list, func(t failover.Target) bool { return strings.EqualFold(string(t), string(target)) }) {
		return nil
	}
	return fmt.Errorf("target %q of %s is none of its targets %v", target, name, list)
}

// checkTarget checks everything that does not depend on what other names show.
func (t *tree) checkTarget(name failover.RecordName, target failover.Target) (key, error) {
	if target == "" {
		return "", fmt.Errorf("target of %s is empty: the name keeps what it shows", name)
	}
	k, err := checkName(string(target))
	if err != nil {
		return "", fmt.Errorf("target of %s: %w", name, err)
	}
	if strings.EqualFold(string(name), string(target)) {
		return "", fmt.Errorf("%s would point at itself", name)
	}
	n, z := t.find(k)
	if z == nil {
		return k, nil
	}
	if n == nil || n.kind != managed && !n.hasAddress() {
		return "", fmt.Errorf("target %s of %s stands in our zone %s and has no address there: add it under hosts", target, name, z.name)
	}
	return k, nil
}

// loop follows the chain from a name through what the others show, or will
// show with this record, and refuses one that comes back or is too long.
func (t *tree) loop(n *node, next map[*node]*shown) error {
	path := []string{n.name}
	for at := n; ; {
		sh := next[at]
		if sh == nil {
			sh = at.shown.Load()
		}
		if sh == nil {
			return nil
		}
		to := t.nodes[sh.target]
		if to == nil || to.kind != managed {
			return nil
		}
		path = append(path, to.name)
		if to == n || len(path) > maxChain+1 {
			return fmt.Errorf("%s would loop or lead through more than %d names: %s", n.name, maxChain, strings.Join(path, " → "))
		}
		at = to
	}
}

func (n *node) hasAddress() bool {
	for _, rrs := range n.sets {
		for _, rr := range rrs {
			switch rr.Header().Rrtype {
			case dns.TypeA, dns.TypeAAAA:
				return true
			}
		}
	}
	return false
}

// managed returns the node of a managed name, or nil.
func (t *tree) managed(name failover.RecordName) *node {
	k, err := keyOf(string(name))
	if err != nil {
		return nil
	}
	if n := t.nodes[k]; n != nil && n.kind == managed {
		return n
	}
	return nil
}

// zone returns the zone of exactly that name, or nil.
func (t *tree) zone(name failover.RecordName) *zone {
	k, err := keyOf(string(name))
	if err != nil {
		return nil
	}
	return t.zones[k]
}

func canonical(name failover.RecordName) failover.RecordName {
	return failover.RecordName(strings.ToLower(string(name)))
}
