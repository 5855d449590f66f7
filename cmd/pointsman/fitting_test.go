package main

import (
	"fmt"
	"testing"

	"pointsman/dnsctl"
	"pointsman/internal/controller"
)

// heir is a provider that learns from those of its zone alone.
type heir struct {
	dnsctl.Provider
	name, zone string
	from       []string
}

func (h *heir) Inherit(old dnsctl.Provider) bool {
	was := old.(*heir)
	if was.zone != h.zone {
		return false
	}
	h.from = append(h.from, was.name)
	return true
}

// What a provider has learnt belongs to its zone and not to what the config
// calls it: under another name it goes on with the same, or requests that may
// land late would be forgotten.
func TestARenamedProviderInherits(t *testing.T) {
	before := &fitting{names: map[string]dnsctl.Provider{
		"a": &heir{name: "a", zone: "1"}, "b": &heir{name: "b", zone: "2"}, "b2": &heir{name: "b2", zone: "2"},
	}}
	next := map[string]*heir{"a": {zone: "1"}, "b2": {zone: "2"}, "renamed": {zone: "1"}, "a3": {zone: "3"}, "b": {zone: "1"}}
	f := &fitting{setup: controller.Setup{Names: map[string]controller.Names{}}}
	for name, h := range next {
		f.setup.Names[name] = provided{provider: h}
	}
	f.setup.Names["broken"] = unusable{}
	f.inherit(before)
	for name, want := range map[string]string{"a": "[a]", "b2": "[b2]", "renamed": "[a]", "a3": "[]", "b": "[a]"} {
		if got := fmt.Sprint(next[name].from); got != want {
			t.Errorf("%s inherits from %s, want %s", name, got, want)
		}
	}
}
