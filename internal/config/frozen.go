package config

import (
	"fmt"
	"slices"
	"strings"
)

// FrozenKeys are the keys that a running process cannot take anew: what it
// holds open, and by what others know it. A file that changes one of them is
// refused as a whole until a restart.
func FrozenKeys() []string {
	var out []string
	for _, k := range frozen {
		out = append(out, k.path)
	}
	for _, k := range frozenAtVantage {
		out = append(out, k.path)
	}
	return out
}

// frozenKey is one of them, with what it resolves to: writing a default out is
// no change.
type frozenKey[T any] struct {
	path  string
	value func(*T) string
}

var frozen = []frozenKey[Config]{
	{"controller.name", func(c *Config) string { return c.Controller.Name }},
	{"controller.data", func(c *Config) string { return c.Controller.Data }},
	{"controller.socket", func(c *Config) string { return c.Controller.Socket }},
	{"controller.listen", func(c *Config) string { return c.Controller.Listen }},
	{"vantage.name", func(c *Config) string { return string(c.Self.Name) }},
	{"authority", func(c *Config) string {
		if c.Authority == nil {
			return ""
		}
		return "configured"
	}},
	{"authority.listen", func(c *Config) string {
		if c.Authority == nil {
			return ""
		}
		return strings.Join(slices.Sorted(slices.Values(c.Authority.Listen)), ", ")
	}},
}

var frozenAtVantage = []frozenKey[VantageFile]{
	{"name", func(v *VantageFile) string { return string(v.Name) }},
}

// Frozen lists, at their places in the new file, the keys that would need a
// restart; nil when there are none.
func Frozen(old, new *Config) Faults {
	return thaw(frozen, old, new, new.File, new.doc)
}

// FrozenVantage is Frozen for two vantage.yaml.
func FrozenVantage(old, new *VantageFile) Faults {
	return thaw(frozenAtVantage, old, new, new.File, new.doc)
}

func thaw[T any](keys []frozenKey[T], old, new *T, file string, doc any) Faults {
	var out Faults
	for _, k := range keys {
		was, is := k.value(old), k.value(new)
		if was == is || k.path == "authority.listen" && (was == "" || is == "") {
			continue // the authority itself came or went, which was said
		}
		at := find(doc, k.path, pos{1, 1})
		out = append(out, Fault{
			File: file, Line: at.line, Column: at.col,
			Message: fmt.Sprintf("%s cannot change while the process runs: it is %s, the file says %s", k.path, orNone(was), orNone(is)),
			Hint:    "restart to take it, or put the old value back",
		})
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "not there"
	}
	return fmt.Sprintf("%q", s)
}
