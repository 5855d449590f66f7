package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// HealthReports makes and keeps health reports. Safe for concurrent use.
type HealthReports interface {
	// Names lists the reports of the configuration.
	Names() []string
	// List returns what is kept of a name, empty: of all, newest first.
	List(name string) ([]ReportLine, error)
	// Show returns a kept report in one form: of an ID, the newest of a name, or
	// of an empty word the newest of all.
	Show(which, format string) (ReportText, error)
	// Make makes a report now, keeps it, and returns it.
	Make(context.Context, ReportRequest) (ReportText, error)
}

// Errors of HealthReports that are the caller's.
var (
	ErrNoReport  = errors.New("no such report")
	ErrBadReport = errors.New("the request cannot be carried out")
	ErrBusy      = errors.New("busy")
)

// ReportLine is a kept report in a list.
type ReportLine struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	MadeAt  time.Time `json:"made_at,omitzero"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	Due     time.Time `json:"due,omitzero"`
	Level   string    `json:"level,omitempty"` // good, look, bad
	Verdict string    `json:"verdict,omitempty"`
	Late    string    `json:"late,omitempty"` // why it was made after its time
	By      string    `json:"by,omitempty"`   // who asked for it; missing: the calendar
	Trouble string    `json:"trouble,omitempty"`
}

// ReportList answers GET /v1/reports.
type ReportList struct {
	Names   []string     `json:"names"` // of the configuration
	Reports []ReportLine `json:"reports"`
}

// ReportText is one report in one form.
type ReportText struct {
	ReportLine
	Format string `json:"format"`
	Text   string `json:"text"`
}

// ReportRequest is the body of POST /v1/reports/run.
type ReportRequest struct {
	Name    string `json:"name,omitempty"`
	Window  string `json:"window,omitempty"`
	SoFar   bool   `json:"so_far,omitempty"` // the stretch that has begun, until now
	Format  string `json:"format,omitempty"`
	Deliver bool   `json:"deliver,omitempty"`
	By      string `json:"by"`
}

// reportTimeout bounds the making of one report, behind another one.
const reportTimeout = 10 * time.Minute

func (q *ReportRequest) check() error {
	for key, s := range map[string]string{"name": q.Name, "window": q.Window, "format": q.Format, "by": q.By} {
		if err := checkText(key, s, maxWord); err != nil {
			return err
		}
	}
	if strings.TrimSpace(q.By) == "" {
		return errors.New("by: say who asks")
	}
	return nil
}

func (s *Server) getReports(w http.ResponseWriter, r *http.Request) {
	ls, err := s.cfg.HealthReports.List(r.URL.Query().Get("name"))
	if err != nil {
		writeProblem(w, s.reportProblem(err))
		return
	}
	if ls == nil {
		ls = []ReportLine{}
	}
	names := s.cfg.HealthReports.Names()
	if names == nil {
		names = []string{}
	}
	writeJSON(w, http.StatusOK, ReportList{names, ls})
}

func (s *Server) getReportText(w http.ResponseWriter, r *http.Request) {
	t, err := s.cfg.HealthReports.Show(r.URL.Query().Get("report"), r.URL.Query().Get("format"))
	if err != nil {
		writeProblem(w, s.reportProblem(err))
		return
	}
	writeJSON(w, http.StatusOK, t)
}

func (s *Server) postReportRun(w http.ResponseWriter, r *http.Request) {
	var req ReportRequest
	status, err := readBody(w, r, &req)
	if err == nil {
		status, err = http.StatusBadRequest, req.check()
	}
	if err != nil {
		writeProblem(w, Problem{Status: status, Message: err.Error()})
		return
	}
	req.By = signed(r, req.By)
	ctx, cancel := context.WithTimeout(r.Context(), reportTimeout)
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reportTimeout + stopTimeout))
	t, err := s.cfg.HealthReports.Make(ctx, req)
	if err != nil {
		writeProblem(w, s.reportProblem(err))
		return
	}
	writeJSON(w, http.StatusOK, t)
}

func (s *Server) reportProblem(err error) Problem {
	p := Problem{Status: http.StatusInternalServerError, Message: err.Error()}
	switch {
	case errors.Is(err, ErrNoReport):
		p.Status, p.Hint = http.StatusNotFound, "reports: in the configuration names none; see 'pointsman report list', or make one by 'pointsman report run' without a name"
		if names := s.cfg.HealthReports.Names(); len(names) > 0 {
			p.Hint = fmt.Sprintf("reports: in the configuration names %s; see 'pointsman report list'", strings.Join(names, ", "))
		}
	case errors.Is(err, ErrBadReport):
		p.Status = http.StatusBadRequest
	case errors.Is(err, ErrBusy):
		p.Status, p.Hint = http.StatusServiceUnavailable, "wait, then try again"
	}
	return p
}

// Reports lists what is kept of a name, empty: of all.
func (c *Client) Reports(ctx context.Context, name string) (ReportList, error) {
	var l ReportList
	path := "/v1/reports"
	if name != "" {
		path += "?" + url.Values{"name": {name}}.Encode()
	}
	return l, c.get(ctx, path, &l)
}

// Report returns a kept report in one form.
func (c *Client) Report(ctx context.Context, which, format string) (ReportText, error) {
	var t ReportText
	return t, c.get(ctx, "/v1/reports/text?"+url.Values{"report": {which}, "format": {format}}.Encode(), &t)
}

// RunReport makes a report now and waits for it.
func (c *Client) RunReport(ctx context.Context, q ReportRequest) (ReportText, error) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout+5*time.Second)
	defer cancel()
	var t ReportText
	return t, c.callLong(ctx, http.MethodPost, "/v1/reports/run", q, &t)
}
