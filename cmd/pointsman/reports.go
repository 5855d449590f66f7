package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	reporting "pointsman/internal/report" // report prints errors here
)

// openReports makes the room of the health reports. It never fails: what it
// cannot remember or keep it logs, and decisions know nothing of it.
func (p *process) openReports(f *fitting) {
	s := reporting.Setup{
		Dir: filepath.Join(f.cfg.Controller.Data, "reports"), Controller: f.cfg.Controller.Name,
		Source: reported{p}, Deliver: delivered{p}, Log: p.log,
	}
	if p.past != nil {
		s.Past, s.Judge = p.past, judge{p.past}
	}
	p.reports = reporting.New(s, f.cfg.Reports)
}

// reported is the controller as reports ask it.
type reported struct{ p *process }

func (r reported) Names() []failover.InstanceName { return r.p.ctl.Instances() }

func (r reported) Config() (string, time.Time) {
	f := r.p.now.Load()
	return f.cfg.Hash, f.at
}

func (r reported) Leading() (bool, string) {
	if why := r.p.trouble.why(); why != "" {
		return false, why
	}
	l := lead(r.p.store, time.Now())
	return l.Leading, l.Why
}

func (r reported) Facts(i failover.InstanceName) (reporting.Facts, bool) {
	s, ok := r.p.ctl.Snapshot(i)
	if !ok {
		return reporting.Facts{}, false
	}
	now := time.Now()
	f := reporting.Facts{
		View: r.p.look(&s), TTL: s.Policy.TTL, Proved: s.Policy.MoveProof != failover.MoveProofWaived,
		Bound: s.Policy.WorstCase(failover.Failover), Rows: r.p.replicas.words(i, now),
	}
	if quiet := now.Sub(s.At); quiet > stuck(s.Policy.Round) {
		f.View.At, f.Old = s.At, stuck(s.Policy.Round)
	}
	if _, found := s.State.Record(); found {
		plan := failover.PlanMove(&s.State, s.Policy, failover.Command{Do: failover.DoFailover, To: f.View.Standby}, now)
		f.Hand = plan.Guards
		f.Auto = failover.Explain(&s.State, s.Policy, now).Verdicts
	}
	return f, true
}

// healthReports are the reports as the API wants them.
type healthReports struct{ p *process }

func (h healthReports) Names() []string { return h.p.reports.Names() }

func (h healthReports) List(name string) ([]api.ReportLine, error) {
	ls, err := h.p.reports.List(name)
	if err != nil {
		return nil, reportError(err)
	}
	out := make([]api.ReportLine, len(ls))
	for i, l := range ls {
		out[i] = reportLine(l.ID, &l.Head)
		out[i].Trouble = l.Trouble
	}
	return out, nil
}

func reportLine(id string, r *reporting.Report) api.ReportLine {
	l := api.ReportLine{
		ID: id, Name: r.Name, MadeAt: r.MadeAt, From: r.From, To: r.To, Due: r.Due, Level: string(r.Verdict.Level), Verdict: r.Verdict.Text, By: r.By,
	}
	if r.Late != nil {
		l.Late = r.Late.Why
	}
	return l
}

func (h healthReports) Show(which, format string) (api.ReportText, error) {
	form, err := formOf(format)
	if err != nil {
		return api.ReportText{}, err
	}
	r, data, err := h.p.reports.Show(which, form)
	if err != nil {
		return api.ReportText{}, reportError(err)
	}
	return api.ReportText{ReportLine: reportLine(r.ID, r), Format: string(form), Text: string(data)}, nil
}

func (h healthReports) Make(ctx context.Context, q api.ReportRequest) (api.ReportText, error) {
	form, err := formOf(q.Format)
	if err != nil {
		return api.ReportText{}, err
	}
	a := reporting.Ask{Name: q.Name, SoFar: q.SoFar, By: q.By, Deliver: q.Deliver}
	if q.Window != "" {
		w, err := reporting.ParseWindow(q.Window)
		if err != nil {
			return api.ReportText{}, fmt.Errorf("window: %w: %w", err, api.ErrBadReport)
		}
		a.Window = &w
	}
	r, err := h.p.reports.Make(ctx, a)
	if err != nil {
		return api.ReportText{}, reportError(err)
	}
	data, err := r.Form(form)
	if err != nil {
		return api.ReportText{}, err
	}
	return api.ReportText{ReportLine: reportLine(r.ID, r), Format: string(form), Text: string(data)}, nil
}

// formOf is the form that a request names; it names the short one by nothing.
func formOf(word string) (reporting.Format, error) {
	switch f := reporting.Format(orElse(word, string(reporting.Text))); f {
	case reporting.HTML, reporting.Markdown, reporting.JSON, reporting.Text:
		return f, nil
	}
	return "", fmt.Errorf("format %.40q is none of html, markdown, json, text: %w", word, api.ErrBadReport)
}

// reportError gives an error of the room the API's own name for it.
func reportError(err error) error {
	switch {
	case errors.Is(err, reporting.ErrNoReport), errors.Is(err, reporting.ErrNoName):
		return as{api.ErrNoReport, err}
	case errors.Is(err, reporting.ErrBusy):
		return as{api.ErrBusy, err}
	}
	return err
}
