package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// shelf keeps one report.
type shelf struct {
	asked []ReportRequest
	err   error
}

func (s *shelf) Names() []string { return []string{"daily"} }

func (s *shelf) List(name string) ([]ReportLine, error) {
	if name == "none" {
		return nil, s.err
	}
	return []ReportLine{{ID: "daily/2026-11-28T080500Z", Name: "daily", Level: "good", Verdict: "1 instance"}}, s.err
}

func (s *shelf) Show(which, format string) (ReportText, error) {
	return ReportText{ReportLine: ReportLine{ID: which}, Format: format, Text: "<html>"}, s.err
}

func (s *shelf) Make(_ context.Context, q ReportRequest) (ReportText, error) {
	s.asked = append(s.asked, q)
	return ReportText{ReportLine: ReportLine{ID: "daily/2026-11-28T080500Z"}, Format: q.Format, Text: "# GOOD"}, s.err
}

func TestReportsOverTheSocket(t *testing.T) {
	s := &shelf{}
	cfg := newWorld().config(t)
	cfg.HealthReports = s
	serveTest(t, cfg)
	c, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := c.Reports(t.Context(), "daily"); err != nil || len(l.Reports) != 1 || l.Names[0] != "daily" {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := c.Reports(t.Context(), "none"); err != nil || l.Reports == nil {
		t.Errorf("%+v, %v", l, err)
	}
	if r, err := c.Report(t.Context(), "daily/2026-11-28T080500Z", "html"); err != nil || r.ID != "daily/2026-11-28T080500Z" || r.Text != "<html>" || r.Format != "html" {
		t.Errorf("%+v, %v", r, err)
	}
	q := ReportRequest{Name: "daily", Window: "7d", SoFar: true, Format: "markdown", Deliver: true, By: "alice"}
	if r, err := c.RunReport(t.Context(), q); err != nil || r.Text != "# GOOD" {
		t.Errorf("%+v, %v", r, err)
	}
	if got := s.asked[0]; !strings.HasPrefix(got.By, "alice (uid ") || got.Window != "7d" || !got.SoFar || !got.Deliver {
		t.Errorf("%+v", got)
	}
	for _, bad := range []ReportRequest{{}, {By: " "}, {By: "alice", Name: strings.Repeat("x", 300)}, {By: "alice", Window: "a\x00b"}} {
		if _, err := c.RunReport(t.Context(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if len(s.asked) != 1 {
		t.Errorf("%d were made", len(s.asked))
	}
	for err, want := range map[error]int{
		ErrNoReport: http.StatusNotFound, ErrBadReport: http.StatusBadRequest, ErrBusy: http.StatusServiceUnavailable, errors.New("the disk"): http.StatusInternalServerError,
	} {
		s.err = fmt.Errorf("why: %w", err)
		_, got := c.Report(t.Context(), "daily", "text")
		if p, ok := errors.AsType[*Problem](got); !ok || p.Status != want || !strings.HasPrefix(p.Message, "why: ") {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestUnknownReportNamesThoseThereAre: and where they come from.
func TestUnknownReportNamesThoseThereAre(t *testing.T) {
	for _, c := range []struct {
		names []string
		hint  string
	}{
		{[]string{"daily", "weekly"}, "reports: in the configuration names daily, weekly; see 'pointsman report list'"},
		{nil, "reports: in the configuration names none; see 'pointsman report list', or make one by 'pointsman report run' without a name"},
	} {
		s := &Server{cfg: Config{HealthReports: named{&shelf{}, c.names}}}
		if p := s.reportProblem(ErrNoReport); p.Hint != c.hint {
			t.Errorf("%q, want %q", p.Hint, c.hint)
		}
	}
}

// named is a shelf with other names.
type named struct {
	*shelf
	names []string
}

func (n named) Names() []string { return n.names }

// TestWithoutReports: the paths are not there.
func TestWithoutReports(t *testing.T) {
	c := overSocket(t, newWorld())
	if _, err := c.Reports(t.Context(), ""); err == nil {
		t.Error("reports without any")
	}
}
