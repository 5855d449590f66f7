package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// reloadsIn are the entries of the audit that reloads left.
func reloadsIn(t *testing.T, p *process) []ledger.Entry {
	t.Helper()
	all, err := p.store.Audit(t.Context(), ledger.AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var out []ledger.Entry
	for _, e := range all {
		if e.Kind == auditKind {
			out = append(out, e)
		}
	}
	return out
}

// settles are the times that two instances settle for: what they run by.
func (w *whole) settles(t *testing.T) (orders, pay string) {
	t.Helper()
	of := func(i failover.InstanceName) string {
		s, ok := w.ctl.Snapshot(i)
		if !ok {
			t.Fatalf("%s is gone", i)
		}
		return s.Policy.Settle.String()
	}
	return of("orders"), of("pay")
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// TestAFileInTwoHalvesIsTakenWholeOrNotAtAll writes a file in place, with a
// pause in the middle that lasts until the half was looked at: the half is
// refused and nothing of it runs; then the file is taken at once.
func TestAFileInTwoHalvesIsTakenWholeOrNotAtAll(t *testing.T) {
	w := newWhole(t, nil)
	next := strings.ReplaceAll(w.text, "config_settle: 0s", "config_settle: 7s") // in both instances
	const was, is = "0s", "7s"
	for _, c := range []struct{ what, upTo, after string }{
		{"in the middle of a word", "  - name: pay", "    prima"},
		{"in the middle of an instance", "  - name: pay", "      a: {target: a.lab.test., "},
		{"behind all that changes in the first", "  - name: pay", "  - name: pay\n"},
		{"in the frame", "authority:\n", "  zones:\n"},
	} {
		t.Run(c.what, func(t *testing.T) {
			i := strings.Index(next, c.upTo)
			j := strings.Index(next[i:], c.after) + len(c.after)
			w.inHalves(t, next[:i+j], next[i+j:], was, is)
			before := len(reloadsIn(t, w.process))
			w.write(strings.ReplaceAll(next, "config_settle: 7s", "config_settle: 0s"))
			w.until(func() bool { return w.reloads.Config().Hash == hashOf(w.text) })
			if n := len(reloadsIn(t, w.process)); n != before+3 {
				t.Errorf("the way back left %d entries", n-before)
			}
		})
	}
}

func (w *whole) inHalves(t *testing.T, first, second, was, is string) {
	t.Helper()
	runs, before, refused := w.reloads.Config().Hash, reloadsIn(t, w.process), w.reloads.counted()[api.ReloadRefused]
	f, err := os.OpenFile(w.file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(first); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return w.reloads.counted()[api.ReloadRefused] > refused })
	if st := w.reloads.Config(); st.OK || st.Hash != runs {
		t.Errorf("of the half: %+v", st)
	}
	if orders, pay := w.settles(t); orders != was || pay != was {
		t.Errorf("of the half runs: orders %s, pay %s", orders, pay)
	}
	if after := reloadsIn(t, w.process); len(after) != len(before) {
		t.Errorf("the half stands in the audit: %+v", after[len(before):])
	}
	for _, name := range []failover.RecordName{"orders.lab.test.", "pay.lab.test."} {
		if to, ok := w.authority.Shown(name); !ok || to != "a.lab.test." {
			t.Errorf("%s shows %q", name, to)
		}
	}
	if _, err := f.WriteString(second); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return w.reloads.Config().Hash == hashOf(first+second) })
	if st := w.reloads.Config(); !st.OK || st.Refused != nil {
		t.Errorf("of the whole: %+v", st)
	}
	if orders, pay := w.settles(t); orders != is || pay != is {
		t.Errorf("of the whole runs: orders %s, pay %s", orders, pay)
	}
	added := reloadsIn(t, w.process)[len(before):]
	if len(added) != 3 || added[0].Before != runs || added[0].After != hashOf(first+second) || added[1].Instance != "orders" || added[2].Instance != "pay" {
		t.Errorf("the audit has %+v", added)
	}
	for _, e := range added[1:] {
		if !strings.Contains(e.Text, "config_settle: "+was+" → "+is) {
			t.Errorf("the audit of %s says %q", e.Instance, e.Text)
		}
	}
}
