package contract

import (
	"net/netip"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// TestWorldSaysWhatItIsWithout: nothing is left out in silence.
func TestWorldSaysWhatItIsWithout(t *testing.T) {
	whole := World{
		DNS: netip.MustParseAddrPort("127.0.0.1:53"), Alike: []failover.RecordName{"b.a.test."}, Missing: "c.a.test.", Secrets: []string{"s"},
		Set: func(testing.TB, Record) {}, Disturb: func(testing.TB, Fault) <-chan struct{} { return nil },
		Requests: func() (int64, int64) { return 0, 0 },
	}
	for says, edit := range map[string]func(*World){
		"":                          func(*World) {},
		"has no DNS":                func(w *World) { w.DNS = netip.AddrPort{} },
		"has no Disturb":            func(w *World) { w.Disturb = nil },
		"has no Requests":           func(w *World) { w.Requests = nil },
		"has no Set":                func(w *World) { w.Set = nil },
		"has no Alike":              func(w *World) { w.Alike = nil },
		"has no Missing":            func(w *World) { w.Missing = "" },
		"has no Secrets":            func(w *World) { w.Secrets = nil },
		"does not say why":          func(w *World) { w.DNS, w.Without = netip.AddrPort{}, map[string]string{"DNS": ""} },
		"without DNS, and has it":   func(w *World) { w.Without = map[string]string{"DNS": "no"} },
		"DSN, which no clause need": func(w *World) { w.Without = map[string]string{"DSN": "no"} },
	} {
		w := whole
		edit(&w)
		var needs []string
		for _, c := range clauses {
			needs = append(needs, c.needs...)
		}
		why, err := w.without(needs)
		if says == "" && (why != "" || err != nil) || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q, %v; want %q", why, err, says)
		}
	}
	w := whole
	w.Without = map[string]string{string(ReadOnly): "there is none"}
	if why, err := w.without([]string{string(ReadOnly)}); why != "there is none" || err != nil {
		t.Errorf("%q, %v", why, err)
	}
}
