package report

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// sampleReport is the report of sampleWorld, with one before it.
func sampleReport() *Report {
	h, p, facts := sampleWorld()
	earlier := h
	earlier.MadeAt, earlier.Due, earlier.From, earlier.To = h.MadeAt.Add(-24*time.Hour), h.Due.Add(-24*time.Hour), h.From.Add(-24*time.Hour), h.To.Add(-24*time.Hour)
	earlier.Config = "00aa11bb22cc33dd"
	gone := healthy("gone", earlier.MadeAt)
	was := healthy("orders", earlier.MadeAt)
	before := build(earlier, &tape{}, []Facts{was, gone}, nil)
	h.Late = &Late{Missed: 2, Why: "the controller did not run then"}
	b := NewBuilder(h, all)
	b.Lives(p.told())
	for _, s := range p.newestFirst() {
		b.Sample(s)
	}
	for i := range facts {
		b.Instance(&facts[i])
	}
	b.Clocks([]ClockNow{
		{Vantage: "van-2", Now: &ClockAt{At: h.MadeAt.Add(-2 * time.Second), Offset: 40 * time.Microsecond, Within: 600 * time.Microsecond}},
		{Vantage: "van-3", Now: &ClockAt{At: h.MadeAt.Add(-time.Second), Offset: -1234 * time.Millisecond, Within: 21 * time.Millisecond}},
		{Vantage: "van-4", Why: "it says nothing of it (is it of an earlier version?) " + hostile},
	})
	b.Score(&Score{
		Counts: map[string]int{string(failover.Needed): 1, string(failover.NearMiss): 1, string(failover.Blip): 3}, Gained: 58 * time.Minute, Unseen: 1,
		Incidents: []Incident{
			{Instance: "orders", At: h.From.Add(2 * time.Hour), Judgement: string(failover.Needed), Why: "a was not back 10s after the moment of the move"},
			{Instance: "pay", At: h.From.Add(6 * time.Hour), Judgement: string(failover.NearMiss), Why: "1 of 3 domains said down, 2 needed, and it came back: " + hostile},
		},
	})
	return b.Report(before)
}

func TestGoldenReport(t *testing.T) {
	r := sampleReport()
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(data, '\n'))
	golden(t, "report.md", []byte(r.Markdown()))
	golden(t, "report.txt", []byte(r.Text()))
	page, err := r.HTML(false)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.html", page)
	mail, err := r.HTML(true)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "mail.html", mail)
	if dir := os.Getenv("REPORT_PICTURES"); dir != "" { // to be looked at
		pictures, err := r.Pictures()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pictures {
			if err := os.WriteFile(dir+"/"+p.Name, p.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
