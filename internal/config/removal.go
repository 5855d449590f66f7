package config

import (
	"fmt"
	"strings"

	"pointsman/internal/failover"
)

// Removals says what of the old config is missing in the new one to an extent
// that looks like the slip of a template or half a file, not like a decision:
// more than half of the instances (and more than one), all managed names of a
// zone (where it had more than one), or a whole zone with managed names. Empty
// when there is nothing of the kind. A person who means it says so.
func Removals(old, new *Config) []string {
	var out []string
	stay := map[failover.InstanceName]bool{}
	for _, i := range new.Instances {
		stay[i.Policy.Instance] = true
	}
	var gone []string
	for _, i := range old.Instances {
		if !stay[i.Policy.Instance] {
			gone = append(gone, string(i.Policy.Instance))
		}
	}
	if len(gone) > 1 && 2*len(gone) > len(old.Instances) {
		out = append(out, fmt.Sprintf("%d of %d instances would go: %s", len(gone), len(old.Instances), few(gone)))
	}
	was, is := managed(old), managed(new)
	served := map[failover.RecordName]bool{}
	if new.Authority != nil {
		for _, z := range new.Authority.Zones {
			served[z.Name] = true
		}
	}
	for _, zone := range was.zones {
		names := was.names[zone]
		switch {
		case was.ours[zone] && !served[zone]:
			out = append(out, fmt.Sprintf("the zone %s would go with %s", zone, many(len(names), "managed name")))
		case len(names) > 1 && len(is.names[zone]) == 0:
			out = append(out, fmt.Sprintf("all %d managed names of the zone %s would go: %s", len(names), zone, few(names)))
		}
	}
	return out
}

// holdings are the managed names by zone, zones in the order of the file.
type holdings struct {
	zones []failover.RecordName
	names map[failover.RecordName][]string
	ours  map[failover.RecordName]bool // served by our own authority
}

func managed(cfg *Config) holdings {
	h := holdings{names: map[failover.RecordName][]string{}, ours: map[failover.RecordName]bool{}}
	for _, i := range cfg.Instances {
		for _, n := range i.Policy.Names {
			if _, ok := h.names[n.Zone]; !ok {
				h.zones = append(h.zones, n.Zone)
			}
			h.names[n.Zone] = append(h.names[n.Zone], string(n.Name))
			h.ours[n.Zone] = n.Embedded
		}
	}
	return h
}

// few lists the first of many.
func few(names []string) string {
	const show = 5
	if len(names) <= show {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:show], ", "), len(names)-show)
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
