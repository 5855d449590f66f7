package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// KindPropagation is how a switch reached the listed resolvers.
const KindPropagation = "propagation"

// Reach is how one name of a switch reached the resolvers that are listed.
// Times are from the write; null: not yet.
type Reach struct {
	Name  failover.RecordName `json:"name"`
	Asked int                 `json:"asked"` // resolvers
	P50   *time.Duration      `json:"p50_ns"`
	P95   *time.Duration      `json:"p95_ns"`
	P100  *time.Duration      `json:"p100_ns"`
	Done  bool                `json:"done"`
	Named []string            `json:"named,omitempty"` // resolvers that do what the TTL does not allow
}

// mostNamed bounds what one switch says of resolvers.
const mostNamed = 16

func (r *recorded) propagation(s *ledger.Sample) bool {
	var p struct {
		Op             string
		Name           failover.RecordName
		P50, P95, P100 *time.Duration
		Done           bool
		Resolvers      []struct {
			Name     string
			Faults   []string
			Expected bool
		}
	}
	// The keys of the percentiles have a unit in their names.
	var ns struct {
		P50  *time.Duration `json:"p50_ns"`
		P95  *time.Duration `json:"p95_ns"`
		P100 *time.Duration `json:"p100_ns"`
	}
	if json.Unmarshal(s.Data, &p) != nil || json.Unmarshal(s.Data, &ns) != nil || p.Op == "" {
		return false
	}
	x := Reach{Name: p.Name, Asked: len(p.Resolvers), P50: ns.P50, P95: ns.P95, P100: ns.P100, Done: p.Done}
	for _, v := range p.Resolvers {
		for _, f := range v.Faults {
			if len(x.Named) < mostNamed && !v.Expected {
				x.Named = append(x.Named, v.Name+" "+f)
			}
		}
	}
	if r.reached == nil {
		r.reached = map[string][]Reach{}
	}
	if len(r.reached) < maxSwitches || r.reached[p.Op] != nil {
		r.reached[p.Op] = append(r.reached[p.Op], x)
	}
	return true
}

// published is how long the last authority took after the write, and "" where
// that was not seen.
func (s *Switch) published() string {
	if s.Published == nil {
		return "not seen"
	}
	return span(*s.Published)
}

func (x *Reach) sentence() string {
	at := func(d *time.Duration) string {
		if d == nil {
			return "not yet"
		}
		return span(*d)
	}
	return fmt.Sprintf("%s: p50 %s, p95 %s, p100 %s of %d", x.Name, at(x.P50), at(x.P95), at(x.P100), x.Asked)
}

func (s *Switch) reached() string {
	var out []string
	for i := range s.Reached {
		out = append(out, s.Reached[i].sentence())
	}
	return orDash(strings.Join(out, "; "))
}

func (s *Switch) named() string {
	var out []string
	for _, x := range s.Reached {
		out = append(out, x.Named...)
	}
	return orDash(strings.Join(out, "; "))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// followed are the switches that have moved a name, newest first.
func (i *Instance) followed() []*Switch {
	var out []*Switch
	for k := range i.Switches[:min(len(i.Switches), maxLines)] {
		if s := &i.Switches[k]; s.Moved {
			out = append(out, s)
		}
	}
	return out
}

// following says how the world followed the switches of the window.
func (m *markdown) following() {
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		for _, s := range in.followed() {
			rows = append(rows, []string{m.r.stamp(s.At), md(string(in.Name)), md(s.ID), s.published(), fmt.Sprintf("%d s", s.TTLOld), md(s.reached()), md(s.named())})
		}
	}
	if len(rows) == 0 {
		return
	}
	m.line("### How the world followed\n")
	m.line("%s\n", followedText)
	m.table([]string{"at", "instance", "operation", "all authorities after", "TTL of the old value", "listed resolvers, after the write", "resolvers that stretch"}, rows)
}

const followedText = "New look-ups have moved by the publication, the TTL of the old value and the allowance for caches at the clients together. Open connections stay until they close. Resolvers that stretch TTLs are outside of every bound."
