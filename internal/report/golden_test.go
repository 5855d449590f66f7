package report

import (
	"encoding/json"
	"os"
	"testing"
	"time"
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
	return build(h, p, facts, before)
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
