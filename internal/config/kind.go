package config

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// fileKind is one of the two kinds of config files.
type fileKind struct {
	name string
	keys []string // at the top level, of this kind only
	// Commands that take a file of this kind, up to its path.
	check, run string
}

var (
	controllerKind = fileKind{
		"a controller (pointsman.yaml)",
		[]string{"controller", "single_vantage", "vantage", "vantages", "authority", "providers"},
		"pointsman config validate -c ", "pointsman run -c ",
	}
	vantageKind = fileKind{
		"a vantage (vantage.yaml)",
		[]string{"name", "key_file", "controllers", "ca_file", "controls", "allow"},
		"pointsman config validate --vantage -c ", "pointsman vantage -c ",
	}
)

// count says how many of the keys only this kind has.
func (k fileKind) count(keys []string) int {
	n := 0
	for _, key := range keys {
		if slices.Contains(k.keys, key) {
			n++
		}
	}
	return n
}

// otherKind notes, as the only mistake, a file that is of the other kind: at
// least two keys of that one and none of the wanted.
func (c *compiler) otherKind(root ast.Node, wanted fileKind) bool {
	other := vantageKind
	if wanted.name == vantageKind.name {
		other = controllerKind
	}
	m, ok := root.(*ast.MappingNode)
	if !ok {
		return false
	}
	var keys []string
	for _, v := range m.Values {
		if k, ok := v.Key.(*ast.StringNode); ok {
			keys = append(keys, k.Value)
		}
	}
	if other.count(keys) < 2 || wanted.count(keys) > 0 {
		return false
	}
	c.fault(place(root), "check it with "+other.check+c.src.name+", run it with "+other.run+c.src.name,
		"this is the file of %s, and that of %s is wanted", other.name, wanted.name)
	return true
}
