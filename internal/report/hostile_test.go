package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// allowedTags are all that a page is made of: nothing that runs, loads or links.
var allowedTags = map[string]bool{
	"html": true, "head": true, "meta": true, "title": true, "style": true, "body": true, "header": true, "h1": true, "h2": true, "h3": true,
	"p": true, "span": true, "i": true, "ul": true, "li": true, "table": true, "thead": true, "tbody": true, "tr": true, "th": true, "td": true,
	"div": true, "svg": true, "path": true, "text": true, "rect": true, "img": true,
}

var allowedAttributes = map[string]bool{
	"lang": true, "charset": true, "name": true, "content": true, "http-equiv": true, "class": true, "style": true, "title": true, "src": true, "alt": true,
	"xmlns": true, "viewBox": true, "viewbox": true, "width": true, "height": true, "d": true, "x": true, "y": true, "xmlns:xlink": true,
}

// TestAPageHoldsNothingThatRuns, whatever servers that were probed say.
func TestAPageHoldsNothingThatRuns(t *testing.T) {
	r := sampleReport()
	for _, pictures := range []bool{false, true} {
		page, err := r.HTML(pictures)
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, page)
	}
	for form, text := range map[string]string{"markdown": r.Markdown(), "text": r.Text()} {
		if strings.ContainsAny(text, "\x1b\u202e") || form == "markdown" && (strings.Contains(text, "<script") && !strings.Contains(text, `\<script`) || strings.Contains(text, "\n# head")) {
			t.Errorf("%s:\n%s", form, text)
		}
	}
}

func checkPage(t *testing.T, page []byte) {
	t.Helper()
	z := html.NewTokenizer(bytes.NewReader(page))
	tables := 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			if tables < 5 {
				t.Errorf("%d tables", tables)
			}
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			if tag.Data == "table" {
				tables++
			}
			if !allowedTags[tag.Data] {
				t.Errorf("<%s> in a page", tag.Data)
			}
			for _, a := range tag.Attr {
				if !allowedAttributes[a.Key] || a.Key == "src" && !strings.HasPrefix(a.Val, "cid:") {
					t.Errorf("<%s %s=%q> in a page", tag.Data, a.Key, a.Val)
				}
			}
		}
	}
}

// TestEveryTextIsHarmless puts the hostile text where any text can come from.
func TestEveryTextIsHarmless(t *testing.T) {
	h, p, facts := sampleWorld()
	f := &facts[0]
	f.View.Instance, f.View.Mode, f.View.Waiting = hostile, hostile, hostile
	for i := range f.View.Clusters {
		c := &f.View.Clusters[i]
		c.Name, c.Role, c.Why = hostile, hostile, hostile
		for k := range c.Votes {
			c.Votes[k] = failover.VantageView{Vantage: hostile, Domain: hostile, Reason: hostile, Warnings: []string{hostile, strings.Repeat("x", 100_000)}}
		}
	}
	f.View.Notices = []string{hostile}
	f.View.Stops = []failover.Stop{{Kind: hostile, By: hostile, Why: hostile}}
	f.View.Op = &failover.Op{ID: hostile, Kind: hostile, From: hostile, To: hostile, Held: &failover.Held{Why: hostile}}
	f.Hand = []failover.Verdict{{Guard: hostile, Why: hostile, Hint: hostile, Binds: true}}
	f.Bound = []failover.BoundTerm{{Term: hostile, Note: hostile}}
	h.Name, h.Controller, h.By, h.Config, h.Zone = hostile, hostile, hostile, hostile, hostile
	h.Late = &Late{Missed: 2, Why: hostile}
	op := failover.OpSummary{Op: failover.Op{ID: hostile, Kind: hostile, By: hostile, Reason: hostile}, Outcome: hostile, Why: hostile, At: h.From.Add(time.Hour)}
	p.add(h.From.Add(time.Hour), hostile, KindOutcome, op)
	b := NewBuilder(h, all)
	b.Lives(p.told())
	for _, s := range p.newestFirst() {
		b.Sample(s)
	}
	b.Instance(f)
	b.Score(&Score{Counts: map[string]int{hostile: 1}, Incidents: []Incident{{Instance: hostile, Judgement: hostile, Why: hostile}}})
	b.NotKnown(hostile)
	b.Trouble(hostile)
	r := b.Report(&Report{Version: Version, MadeAt: h.From, Controller: hostile, Config: hostile, Instances: []Instance{{Name: hostile + "gone"}}})
	page, err := r.HTML(false)
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, page)
	if _, err := r.HTML(true); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{r.Markdown(), r.Text(), r.Title()} {
		if strings.ContainsAny(text, "\x1b\u202e") || len(text) > 64<<10 {
			t.Errorf("%d bytes:\n%.4000s", len(text), text)
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "# head") {
				t.Errorf("%q", line)
			}
		}
	}
}

// FuzzSample: a history that was damaged costs the sample.
func FuzzSample(f *testing.F) {
	for _, s := range sampleTape() {
		f.Add(s.Kind, []byte(s.Data), s.At.Unix())
	}
	f.Add(KindRecording, []byte(`{"from":"2026-11-27T00:00:00Z","until":"2026-11-28T00:00:00Z"}`), int64(-1))
	f.Fuzz(func(t *testing.T, kind string, data []byte, at int64) {
		h, p, facts := sampleWorld()
		b := NewBuilder(h, all)
		odd := ledger.Sample{ID: 1 << 40, At: time.Unix(at, 0), Instance: "orders", Kind: kind, Data: data}
		b.Lives(append(p.told(), odd))
		b.Sample(odd)
		for _, s := range p.newestFirst() {
			b.Sample(s)
		}
		for i := range facts {
			b.Instance(&facts[i])
		}
		r := b.Report(nil)
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		for _, i := range r.Instances {
			for _, c := range i.Clusters {
				if sum := c.Window.Up + c.Window.Down + c.Window.Unknown + c.Window.Gap; sum != h.To.Sub(h.From) {
					t.Fatalf("%s of %s", sum, h.To.Sub(h.From))
				}
			}
		}
	})
}

func sampleTape() []ledger.Sample {
	_, p, _ := sampleWorld()
	return p.samples[:8]
}

// TestManyInstances: ten thousand, of which the worst come first and have their
// details; the page and the JSON stay within bounds.
func TestManyInstances(t *testing.T) {
	h, p, _ := sampleWorld()
	const n = 10_000
	for i := range 2000 {
		name := failover.InstanceName(fmt.Sprintf("svc-%05d", i*5))
		p.verdict(h.From.Add(time.Duration(i)*time.Second+11*time.Hour), name, "a", "up", "down")
		p.verdict(h.From.Add(time.Duration(i)*time.Second+12*time.Hour), name, "a", "down", "up")
	}
	b := NewBuilder(h, all)
	b.Lives(p.told())
	for _, s := range p.newestFirst() {
		b.Sample(s)
	}
	for i := range n {
		f := healthy(failover.InstanceName(fmt.Sprintf("svc-%05d", i)), h.MadeAt)
		if i == 7777 {
			f.Hand, f.Auto = allow(failover.GuardTarget), allow(failover.GuardTarget)
		}
		b.Instance(&f)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := b.Report(nil)
	data, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	page, err := r.HTML(false)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if r.Instances[0].Name != "svc-07777" || len(r.Instances) != n || r.Counts.Detailed != maxDetailed || r.Counts.Ready[ByItself] != n-1 || r.Counts.Outages != 2000 {
		t.Errorf("first %s of %d, %+v", r.Instances[0].Name, len(r.Instances), r.Counts)
	}
	if r.Instances[0].Brief || !r.Instances[n-1].Brief || r.Instances[1].Outages == 0 {
		t.Errorf("%+v", r.Instances[1])
	}
	t.Logf("%d instances: JSON %d KiB, page %d KiB, heap before the report %d MiB, allocated for it %d MiB",
		n, len(data)>>10, len(page)>>10, before.HeapAlloc>>20, (after.TotalAlloc-before.TotalAlloc)>>20)
	if len(data) > 12<<20 || len(page) > 1<<20 || before.HeapAlloc > 64<<20 {
		t.Error("that is too much")
	}
	if !strings.Contains(string(page), "9950 more instances are counted above") {
		t.Error("the page does not say what it leaves out")
	}
	checkPage(t, page)
}

// BenchmarkMonth is a report over 30 days and 100,000 samples.
func BenchmarkMonth(b *testing.B) {
	to := at("2026-11-28T00:00:00Z")
	from := to.Add(-30 * 24 * time.Hour)
	p := &tape{}
	for i := range 100_000 {
		t := from.Add(time.Duration(i) * 25920 * time.Millisecond)
		name := failover.InstanceName(fmt.Sprintf("svc-%03d", i%100))
		switch i / 100 % 2 {
		case 0:
			p.verdict(t, name, "a", "up", "down")
		default:
			p.verdict(t, name, "a", "down", "up")
		}
	}
	samples := p.newestFirst()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		x := NewBuilder(Head{Name: "monthly", MadeAt: to, From: from, To: to}, all)
		for _, s := range samples {
			x.Sample(s)
		}
		for i := range 100 {
			f := healthy(failover.InstanceName(fmt.Sprintf("svc-%03d", i)), to)
			x.Instance(&f)
		}
		r := x.Report(nil)
		if _, err := r.HTML(false); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoMarkupInTheLabelOfAChart: the library writes them into an SVG as they
// are, and the page takes that for its own.
func TestNoMarkupInTheLabelOfAChart(t *testing.T) {
	for _, s := range []string{hostile, `</text><script>alert(1)</script>`, `a" onload="x`, "a&amp;b", "\u202eevil", strings.Repeat("x", 100)} {
		got := label(s)
		if len(got) > 40 || strings.ContainsAny(got, "<>&\"'`\u202e\x1b\n") {
			t.Errorf("%q became %q", s, got)
		}
	}
}
