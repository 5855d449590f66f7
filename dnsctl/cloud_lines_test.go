package dnsctl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// Every mark that fits comes back as it was, in 50 of the characters that the
// vendor allows; one that does not fit is refused, never cut.
func TestRemarkKeepsTheMark(t *testing.T) {
	for _, c := range []struct{ mark, remark string }{
		{"v=1 term=12 epoch=37 op=20261123T061200Z-ab12cd by=ctl-1", "p1,c,11,261123061200ab12cd,ctl-1"},
		{"v=1 term=1 epoch=0 op=claim by=ctl.az-1.b", "p1,1,0,claim,ctl.az-1.b"},
		{"v=1 term=1 epoch=1 op=orders-1.1 by=ctl", "p1,1,1,orders,,ctl"},
		{"v=1 term=2 epoch=1 op=orders-1.1 by=ctl", "p1,2,1,orders,1,ctl"}, // claimed by the next term
		{"v=1 term=2 epoch=1 op=orders-1.7 by=ctl", "p1,2,1,orders-1.7,ctl"},
		{"v=1 term=2 epoch=1 op=orders-01.1 by=ctl", "p1,2,1,orders-01.1,ctl"},
		{"v=1 term=1 epoch=0 op=20269923T061200Z-ab12cd by=c", "p1,1,0,20269923T061200Z-ab12cd,c"}, // no such day: kept as it is
	} {
		got, err := toRemark(c.mark)
		if err != nil || got != c.remark || fromRemark(got) != c.mark {
			t.Errorf("%q: %q, %v; back %q", c.mark, got, err, fromRemark(got))
		}
	}
	for _, bad := range []string{
		"v=1 term=1 epoch=1 op=a,b by=c", "v=1 term=1 epoch=1 op=a by=c/d", "v=1 term=1 epoch=1 op=1 by=ü", "hello",
		"v=1 term=1 epoch=1 op=261123061200ab12cd by=c", // would come back as another
		"v=1 term=1 epoch=1 op=20261123T061200Z-ab12cd by=a-controller-of-a-very-long-name",
	} {
		if r, err := toRemark(bad); err == nil {
			t.Errorf("%q became %q", bad, r)
		}
	}
	_, err := toRemark("v=1 term=1 epoch=1 op=20261123T061200Z-ab12cd by=a-controller-of-a-very-long-name")
	wantText(t, err.Error(), "shorten controller.name or the name of the instance by 8")
	for _, note := range []string{"", "by Zhang San", "p1,", "p1,1,2,3", "p1,01,2,op,by", "p1,-1,2,op,by", "p1,1,2,o p,by", "p1,zzzzzzzzzzzzzzzz,2,a,b", "P1,1,2,a,b", "p1,1,2,a,b,c,d", "p1,1,2,a,+,d"} {
		if got := fromRemark(note); got != note {
			t.Errorf("the note %q became %q", note, got)
		}
	}
	// Names for which every mark fits, and by how much others do not.
	if err := RemarkFits("orders-payments-prod", "ctl-az1-b"); err != nil {
		t.Error(err)
	}
	if err := RemarkFits("an-instance-of-a-long-name", "a-long-controller"); err == nil {
		t.Error("44 characters fit")
	}
	if err := RemarkFits("x", "a-controller-of-a-very-long-name"); err == nil {
		t.Error("an operation that a person asks for would not fit")
	}
	rapid.Check(t, func(t *rapid.T) {
		m := failover.Mark{
			Token: failover.Token{Term: rapid.Uint64Max(1e17).Draw(t, "term"), Epoch: rapid.Uint64Max(1e17).Draw(t, "epoch")},
			Op:    rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9_-]{1,12}`), rapid.StringMatching(`[a-z0-9][a-z0-9_.-]{0,10}-[0-9]{1,5}\.[0-9]{1,5}`), rapid.StringMatching(`20[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|2[0-8])T[01][0-9][0-5][0-9][0-5][0-9]Z-[0-9a-f]{6}`)).Draw(t, "op"),
			By:    rapid.StringMatching(`[a-z0-9]([a-z0-9_.-]{0,12}[a-z0-9])?`).Draw(t, "by"),
		}
		r, err := toRemark(m.String())
		if err != nil {
			if !strings.Contains(err.Error(), "shorten") && !strings.Contains(err.Error(), "read back") {
				t.Fatalf("%s: %v", m, err)
			}
			return
		}
		if len(r) > 50 || strings.ContainsFunc(r, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_-.,", c))
		}) || fromRemark(r) != m.String() {
			t.Fatalf("%q became %q, then %q", m, r, fromRemark(r))
		}
	})
}

func FuzzRemark(f *testing.F) {
	f.Add("p1,c,11,261123061200ab12cd,ctl-1")
	f.Add("p1,1,1,orders,,ctl")
	f.Add("p1,2,1,orders,1,ctl")
	f.Fuzz(func(t *testing.T, r string) {
		mark := fromRemark(r)
		if mark == r {
			return
		}
		if _, err := failover.ParseMark(mark); err != nil {
			t.Fatalf("%q became %q: %v", r, mark, err)
		}
	})
}

func line(name string, v failover.Target, m string) cloudRecord {
	return cloudRecord{id: fmt.Sprint(len(name), name[0]), rtype: "CNAME", line: name, value: v, ttl: 60, mark: m}
}

func looked(t testing.TB, recs ...cloudRecord) sight {
	t.Helper()
	s, err := look(recs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Which line stands for the name while its lines differ.
func TestCloudStateOfLines(t *testing.T) {
	m0, m1 := mark(1, 0), mark(1, 1)
	const third = failover.Target("c.lab.test.")
	ours := []failover.Target{targetA, targetB}
	for name, c := range map[string]struct {
		lines  []cloudRecord
		wanted failover.Target
		value  failover.Target
		mark   string
		other  string // a part; empty: nothing at all
	}{
		"all alike":                     {[]cloudRecord{line("default", targetA, m0), line("telecom", targetA, m0)}, "", targetA, m0, ""},
		"one reached":                   {[]cloudRecord{line("default", targetB, m1), line("telecom", targetA, m0)}, "", targetA, m0, ""},
		"the other reached":             {[]cloudRecord{line("default", targetA, m0), line("telecom", targetB, m1)}, "", targetA, m0, ""},
		"value without remark":          {[]cloudRecord{line("default", targetB, m1), line("telecom", targetB, m0)}, "", targetB, m0, ""},
		"far behind comes first":        {[]cloudRecord{line("default", targetB, m1), line("edu", targetB, m0), line("telecom", targetA, m0)}, "", targetA, m0, ""},
		"claimed in part":               {[]cloudRecord{line("default", targetA, m1), line("telecom", targetA, "")}, "", targetA, "", ""},
		"unmarked with another value":   {[]cloudRecord{line("default", targetB, m1), line("telecom", targetA, "")}, "", targetA, "", "telecom shows a.lab.test. without a mark"},
		"a third value":                 {[]cloudRecord{line("default", targetB, m1), line("telecom", third, m0)}, "", third, m0, "telecom shows c.lab.test."},
		"a third value under our mark":  {[]cloudRecord{line("default", targetB, m1), line("telecom", third, m1)}, "", third, m1, "telecom shows c.lab.test."},
		"somebody's note":               {[]cloudRecord{line("default", targetA, m0), line("telecom", targetA, "Zhang")}, "", targetA, "Zhang", `telecom shows a.lab.test. with "Zhang"`},
		"one mark, b wanted":            {[]cloudRecord{line("default", targetB, m0), line("telecom", targetA, m0)}, targetB, targetA, m0, ""},
		"one mark, a wanted":            {[]cloudRecord{line("default", targetB, m0), line("telecom", targetA, m0)}, targetA, targetB, m0, ""},
		"one mark, nothing is known":    {[]cloudRecord{line("default", targetA, m0), line("edu", targetA, m0), line("telecom", targetB, m0)}, "", targetB, m0, "telecom shows b.lab.test."},
		"no marks at all, one is other": {[]cloudRecord{line("default", targetA, ""), line("telecom", targetB, "")}, "", targetA, "", "telecom shows b.lab.test. without a mark"},
	} {
		t.Run(name, func(t *testing.T) {
			st := looked(t, c.lines...).state(ours, c.wanted)
			if st.Value != c.value || st.Mark != c.mark || len(st.Lines) != len(c.lines) {
				t.Errorf("%+v", st)
			}
			if c.other == "" && st.Other != "" || !strings.Contains(st.Other, c.other) {
				t.Errorf("other %q, want %q", st.Other, c.other)
			}
		})
	}
	// The TTL that may still be cached is the longest.
	two := looked(t, line("default", targetA, m0), line("telecom", targetA, m0))
	two.lines[1].ttl = 600
	if st := two.state(ours, ""); st.TTL != 600 {
		t.Errorf("ttl %d", st.TTL)
	}
}

// world is a name with some lines in any state that writes of ours, cut off
// anywhere, and hands of others can leave.
func drawLines(t *rapid.T) []cloudRecord {
	values := []failover.Target{targetA, targetB, "c.lab.test."}
	marks := []string{"", "note", mark(1, 0), mark(1, 1), mark(2, 1), mark(3, 0)}
	var out []cloudRecord
	for _, l := range []string{"default", "edu", "telecom"}[:rapid.IntRange(1, 3).Draw(t, "lines")] {
		r := line(l, rapid.SampledFrom(values).Draw(t, "value"), rapid.SampledFrom(marks).Draw(t, "mark"))
		r.ttl = rapid.SampledFrom([]uint32{60, 600}).Draw(t, "ttl")
		out = append(out, r)
	}
	return out
}

// Whatever stands there: a write planned from what is read never touches a
// value that is not ours unless just that was expected, and every line that it
// touches is one it may; and a plan that is carried out leaves the name whole.
func TestCloudPlanProperties(t *testing.T) {
	ours := []failover.Target{targetA, targetB}
	planned, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		recs := drawLines(t)
		s, err := look(recs, nil)
		if err != nil {
			t.Fatal(err)
		}
		st := s.state(ours, rapid.SampledFrom([]failover.Target{"", targetA, targetB}).Draw(t, "wanted"))
		c := Change{Name: orders, Expect: st.Value, ExpectMark: &st.Mark, Value: rapid.SampledFrom(ours).Draw(t, "to"), TTL: 60, Mark: rapid.SampledFrom([]string{mark(1, 1), mark(2, 1), mark(2, 2)}).Draw(t, "new")}
		steps, err := s.plan(c, ours)
		if err != nil {
			refused++
			if !errors.Is(err, ErrPrerequisite) {
				t.Fatalf("%v", err)
			}
			return
		}
		planned++
		token, _ := failover.ParseMark(c.Mark)
		for _, x := range steps {
			asSeen := x.rec.value == st.Value && x.rec.mark == st.Mark
			if !slices.Contains(ours, x.rec.value) && x.rec.value != st.Value {
				t.Fatalf("%s is touched, seen was %+v", x.rec.shows(), st)
			}
			if m, err := failover.ParseMark(x.rec.mark); err == nil && token.Token.Less(m.Token) && !asSeen {
				t.Fatalf("%s is newer than %s", x.rec.shows(), c.Mark)
			}
		}
		after := slices.Clone(recs)
		for _, x := range steps {
			for i := range after {
				if after[i].line == x.rec.line {
					after[i].value, after[i].ttl, after[i].mark = c.Value, c.TTL, c.Mark
				}
			}
		}
		for _, r := range after {
			if r.value != c.Value || r.ttl != c.TTL || r.mark != c.Mark {
				t.Fatalf("after all steps %s, ttl %d", r.shows(), r.ttl)
			}
		}
	})
	if planned == 0 || refused == 0 {
		t.Errorf("%d planned, %d refused: the property was not put to the test", planned, refused)
	}
}

// A write that is cut off after any number of requests, on any line, is
// finished by the next one that is planned from what is then read.
func TestCloudCutOffAnywhereIsFinished(t *testing.T) {
	ours := []failover.Target{targetA, targetB}
	names := []string{"default", "edu", "telecom"}
	rapid.Check(t, func(t *rapid.T) {
		lines := names[:rapid.IntRange(1, 3).Draw(t, "lines")]
		old, next := mark(1, 0), rapid.SampledFrom([]string{mark(1, 0), mark(1, 1)}).Draw(t, "mark") // steps of one operation share a mark
		var recs []cloudRecord
		for _, l := range lines {
			recs = append(recs, line(l, targetA, old))
			switch rapid.IntRange(0, 2).Draw(t, "requests that landed") {
			case 1:
				recs[len(recs)-1].value = targetB
			case 2:
				recs[len(recs)-1].value, recs[len(recs)-1].mark = targetB, next
			}
		}
		s, err := look(recs, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The same process knows what it wanted; another one does not.
		wanted := rapid.SampledFrom([]failover.Target{targetB, ""}).Draw(t, "known")
		st := s.state(ours, wanted)
		if st.Value == targetB && st.Mark == next && st.Other == "" {
			for _, r := range recs {
				if r.value != targetB || r.mark != next {
					t.Fatalf("the name looks reached, and %s", r.shows())
				}
			}
		}
		again := rapid.SampledFrom([]Change{
			{Value: targetB, Mark: next}, {Value: targetB, Mark: mark(2, 1)}, {Value: targetA, Mark: mark(1, 2)},
		}).Draw(t, "then")
		again.Name, again.Expect, again.ExpectMark, again.TTL = orders, st.Value, &st.Mark, 60
		if _, err := s.plan(again, ours); err != nil {
			t.Fatalf("stuck: %v\nseen %+v", err, st)
		}
	})
}
