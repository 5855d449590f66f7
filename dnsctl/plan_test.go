package dnsctl

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

func TestPlanExpectsExactlyWhatWasSeen(t *testing.T) {
	d, err := Plan(State{Value: "A.lab.test", TTL: 30, Mark: mark(1, 0)}, Want{Name: "Orders.lab.test", Value: "B.LAB.TEST", TTL: 60, Mark: mark(1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c := d.Change
	if c.Name != orders || c.Expect != targetA || *c.ExpectMark != mark(1, 0) || c.Value != targetB || c.TTL != 60 || c.Mark != mark(1, 1) {
		t.Errorf("%+v", c)
	}
	want := []string{
		"orders.lab.test. CNAME: a.lab.test. → b.lab.test.",
		"orders.lab.test. TTL: 30 → 60",
		`orders.lab.test. mark: "` + mark(1, 0) + `" → "` + mark(1, 1) + `"`,
	}
	if !slices.Equal(d.Lines, want) {
		t.Errorf("%q", d.Lines)
	}
	d, err = Plan(State{Absent: true}, Want{Name: orders, Value: targetA, TTL: 30, Mark: mark(1, 0)})
	if err != nil || d.Change.Expect != "" || *d.Change.ExpectMark != "" || len(d.Lines) != 2 {
		t.Errorf("absent: %+v %v", d, err)
	}
}

func TestPlanRefusesWhatMayNeverBeWritten(t *testing.T) {
	good := Want{Name: orders, Value: targetB, TTL: 30, Mark: mark(1, 1)}
	seen := State{Value: targetA, TTL: 30, Mark: mark(1, 0)}
	if _, err := Plan(seen, good); err != nil {
		t.Fatal(err)
	}
	for says, edit := range map[string]func(*Want){
		"is empty":         func(w *Want) { w.Value = "" },
		"only one label":   func(w *Want) { w.Value = "." },
		"point at itself":  func(w *Want) { w.Value = "ORDERS.lab.test" },
		"at itself":        func(w *Want) { w.Value = failover.Target(MarkName(orders)) },
		"is an address":    func(w *Want) { w.Value = "192.0.2.1" },
		"ttl 0 s":          func(w *Want) { w.TTL = 0 },
		"ttl 4294967295 s": func(w *Want) { w.TTL = 1<<32 - 1 },
		"mark":             func(w *Want) { w.Mark = "" },
		"only one":         func(w *Want) { w.Name = "orders" },
	} {
		w := good
		edit(&w)
		_, err := Plan(seen, w)
		if !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", says, err)
			continue
		}
		wantText(t, err.Error(), says)
	}
	seen.Other = "MX 10 mail."
	if _, err := Plan(seen, good); !errors.Is(err, ErrSeveral) || !strings.Contains(err.Error(), "MX 10 mail.") {
		t.Errorf("something beside it: %v", err)
	}
}

// TestPlanSettles shows that a plan, once carried out, leaves nothing to do,
// however the values are spelt on either side: the loop that never ends
// because of letter case, a dot or a rounded TTL cannot begin.
func TestPlanSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spell := func(s string) string {
			b := []byte(s)
			for i := range b {
				if rapid.Bool().Draw(t, "upper") && b[i] >= 'a' && b[i] <= 'z' {
					b[i] -= 'a' - 'A'
				}
			}
			return strings.TrimSuffix(string(b), rapid.SampledFrom([]string{"", "."}).Draw(t, "dot"))
		}
		target := rapid.SampledFrom([]string{"a.lab.test.", "b.lab.test.", "c.example."})
		ttl := rapid.SampledFrom([]uint32{1, 5, 30, 600})
		m := rapid.SampledFrom([]string{mark(1, 0), mark(1, 1), mark(2, 0)})
		want := Want{
			Name: failover.RecordName(spell(string(orders))), Value: failover.Target(spell(target.Draw(t, "want"))),
			TTL: ttl.Draw(t, "ttl"), Mark: m.Draw(t, "mark"),
		}
		seen := State{Absent: rapid.Bool().Draw(t, "absent")}
		if !seen.Absent {
			seen.Value, seen.TTL = failover.Target(spell(target.Draw(t, "seen"))), ttl.Draw(t, "seen ttl")
		}
		if rapid.Bool().Draw(t, "marked") {
			seen.Mark = m.Draw(t, "seen mark")
		}
		d, err := Plan(seen, want)
		if err != nil {
			t.Fatal(err)
		}
		same := !seen.Absent && canonical(string(seen.Value)) == canonical(string(want.Value)) && seen.TTL == want.TTL && seen.Mark == want.Mark
		if d.Nothing() != same {
			t.Fatalf("same %v, but the plan is %q", same, d.Lines)
		}
		c := d.Change
		after := State{Value: failover.Target(spell(string(c.Value))), TTL: c.TTL, Mark: c.Mark}
		if again, err := Plan(after, want); err != nil || !again.Nothing() {
			t.Fatalf("carried out, it is still %q %v", again.Lines, err)
		}
	})
}
