package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ask is a report that a person wants now.
type Ask struct {
	Name    string  // empty: the only one there is, or one over all instances
	Window  *Window // nil: that of the report
	SoFar   bool    // the stretch that has begun, until now: this month, not the one before
	By      string
	Deliver bool // to the channels of the report, too
}

// ErrNoName is what asking for a report that is not configured gives.
var ErrNoName = errors.New("no report has that name")

// Names lists the reports of the configuration.
func (v *Service) Names() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	for _, r := range v.reports {
		out = append(out, r.Name)
	}
	return out
}

func (v *Service) find(name string) (Config, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if name == "" && len(v.reports) == 1 {
		return v.reports[0], nil
	}
	if name == "" || name == ByHand {
		return asked(time.UTC), nil
	}
	if i := slices.IndexFunc(v.reports, func(r Config) bool { return r.Name == name }); i >= 0 {
		return v.reports[i], nil
	}
	return Config{}, fmt.Errorf("%.80q: %w", name, ErrNoName)
}

// Make makes a report now and keeps it. It waits while another is made.
func (v *Service) Make(ctx context.Context, a Ask) (*Report, error) {
	c, err := v.find(a.Name)
	if err != nil {
		return nil, err
	}
	if a.Window != nil {
		c.Window = *a.Window
	}
	h := v.head(&c)
	h.By = a.By
	if h.By == "" {
		h.By = "somebody"
	}
	h.From, h.To = c.Window.Range(h.MadeAt, c.Schedule.Location)
	if a.SoFar {
		h.From, h.To = c.Window.SoFar(h.MadeAt, c.Schedule.Location)
	}
	return v.make(ctx, &c, h, a.Deliver)
}

// List returns what is kept of a name, or of all, newest first.
func (v *Service) List(name string) ([]Line, error) {
	if name != "" && !IsName(name) {
		return nil, fmt.Errorf("%.80q: %w", name, ErrNoName)
	}
	return v.files.list(name)
}

// Show returns one form of a kept report: of an ID, or the newest of a name, or
// with nothing the newest of all. A form that was not kept is made of the JSON.
func (v *Service) Show(which string, f Format) (*Report, []byte, error) {
	id := which
	if which == "" || IsName(which) {
		ls, err := v.List(which)
		if err != nil {
			return nil, nil, err
		}
		if len(ls) == 0 {
			return nil, nil, fmt.Errorf("nothing is kept of %q: %w", which, ErrNoReport)
		}
		id = ls[0].ID
	}
	r, err := v.files.report(id)
	if err != nil {
		return nil, nil, err
	}
	if f != Text {
		data, err := v.files.read(id, f)
		if err == nil || !errors.Is(err, ErrNoReport) {
			return r, data, err
		}
	}
	data, err := r.Form(f)
	return r, data, err
}
