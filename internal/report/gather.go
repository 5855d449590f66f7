package report

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"pointsman/internal/ledger"
)

func (v *Service) head(c *Config) Head {
	h := Head{Name: c.Name, Controller: v.s.Controller, MadeAt: v.s.Now(), Zone: c.Schedule.Zone}
	h.Config, h.ConfigAt = v.s.Source.Config()
	return h
}

// make gathers, builds and keeps a report, and hands it over where that is
// wanted: all on a thread of its own of low priority, and never two at once. With
// an error there may be a report: it is kept, and was not handed over.
func (v *Service) make(ctx context.Context, c *Config, h Head, deliver bool) (*Report, error) {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ErrBusy
	}
	defer func() { <-v.turn }()
	ctx, cancel := context.WithTimeout(ctx, makeTimeout)
	defer cancel()
	type result struct {
		r   *Report
		err error
	}
	out := make(chan result, 1)
	go func() {
		// Without an unlock the thread, which nothing else should get, ends
		// with this goroutine.
		runtime.LockOSThread()
		lowPriority()
		defer func() {
			if x := recover(); x != nil {
				v.s.Log.Error("a report panicked", "report", c.Name, "reason", fmt.Sprint(x), "stack", string(debug.Stack()))
				out <- result{nil, fmt.Errorf("a fault of this program: %v", x)}
			}
		}()
		r, err := v.whole(ctx, c, h, deliver)
		out <- result{r, err}
	}()
	got := <-out
	v.tally(c.Name, got.err)
	return got.r, got.err
}

// whole makes a report from its first sample to the channels.
func (v *Service) whole(ctx context.Context, c *Config, h Head, deliver bool) (*Report, error) {
	r, err := v.gather(ctx, c, h)
	if err != nil {
		return nil, err
	}
	if h.Due.IsZero() { // one that was due replaces its own first try
		r.ID = v.files.free(r.ID)
	}
	if err := v.keep(r, c); err != nil {
		return nil, err
	}
	if !deliver {
		return r, nil
	}
	return r, v.deliver(ctx, r, c.Channels)
}

// gather reads the history and asks the controller.
func (v *Service) gather(ctx context.Context, c *Config, h Head) (*Report, error) {
	b := NewBuilder(h, c.Wants)
	v.readPast(ctx, b)
	for _, name := range v.s.Source.Names() {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("gather facts: %w", err)
		}
		if !c.Wants(name) {
			continue
		}
		if f, ok := v.s.Source.Facts(name); ok {
			b.Instance(&f)
		}
	}
	b.Clocks(v.s.Source.Clocks())
	if v.s.Judge != nil {
		score, err := v.s.Judge.Score(ctx, c.Wants, h.From, h.To)
		if err != nil {
			v.s.Log.Warn("how good decisions were is not in a report", "report", c.Name, "reason", err)
			b.NotKnown("how good the decisions were: " + err.Error())
		}
		b.Score(score)
	}
	own := ""
	if !h.Due.IsZero() {
		own = idOf(h.Name, h.Due)
	}
	return b.Report(v.before(c.Name, own)), nil
}

// before is the report that was kept last under the name, but for one: its own
// first try, which was kept and could not be handed over.
func (v *Service) before(name, own string) *Report {
	id, err := v.files.newest(name, own)
	if err != nil || id == "" {
		return nil
	}
	r, err := v.files.report(id)
	if err != nil {
		v.s.Log.Warn("the report before cannot be read", "report", id, "reason", err)
		return nil
	}
	return r
}

// readPast gives the builder what the history has, page by page, so that it is
// never held up for long and never in memory at once.
func (v *Service) readPast(ctx context.Context, b *Builder) {
	if v.s.Past == nil {
		b.Trouble("there is no history, see the log of the controller")
		b.Lives(nil)
		return
	}
	if why := v.s.Past.Stats().Trouble; why != nil {
		b.Trouble(why.Error())
	}
	lives, err := v.s.Past.List(ctx, ledger.HistoryFilter{Kind: KindRecording, Limit: maxLives})
	if err != nil {
		b.Trouble(fmt.Sprintf("it cannot be read: %v", err))
		lives = nil // a part of them would call times recorded that were not
	}
	b.Lives(lives)
	if err := v.readPages(ctx, ledger.HistoryFilter{Limit: samplePage, Except: ledger.KindVotes}, b.Sample); err != nil {
		b.Trouble(fmt.Sprintf("it cannot be read: %v", err))
		b.SamplesEnd()
	}
	if err := v.readPages(ctx, ledger.HistoryFilter{Limit: tapePage, Kind: ledger.KindVotes}, b.Tape); err != nil {
		b.Trouble(fmt.Sprintf("it cannot be read: %v", err))
		b.TapesEnd()
	}
}

// readPages hands samples over, newest first, until take has enough. An error
// means that those older than the last one taken are not known.
func (v *Service) readPages(ctx context.Context, f ledger.HistoryFilter, take func(ledger.Sample) bool) error {
	for {
		page, err := v.s.Past.List(ctx, f)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for _, s := range slices.Backward(page) {
			if !take(s) {
				return nil
			}
		}
		if len(page) < f.Limit {
			return nil
		}
		f.Below = page[0].ID
	}
}

// keep writes the forms that the report is kept in.
func (v *Service) keep(r *Report, c *Config) error {
	forms := map[Format][]byte{}
	var err error
	if forms[JSON], err = r.encode(); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	for _, f := range c.Formats {
		if f == JSON {
			continue
		}
		if forms[f], err = r.Form(f); err != nil {
			return err
		}
	}
	if err := v.files.write(r.ID, forms, c.Keep); err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	return nil
}

// Form renders the report.
func (r *Report) Form(f Format) ([]byte, error) {
	switch f {
	case HTML:
		return r.HTML(false)
	case Markdown:
		return []byte(r.Markdown()), nil
	case Text:
		return []byte(r.Text()), nil
	case JSON:
		return r.encode()
	}
	return nil, fmt.Errorf("%q is no form of a report", f)
}

// deliver hands the report over where it is to be delivered.
func (v *Service) deliver(ctx context.Context, r *Report, channels []string) error {
	if len(channels) == 0 || v.s.Deliver == nil {
		return nil
	}
	d, err := r.document()
	if err != nil {
		return err
	}
	if err := v.s.Deliver.Deliver(ctx, channels, d); err != nil {
		return fmt.Errorf("hand the report over: %w", err)
	}
	return nil
}

func (r *Report) document() (Document, error) {
	pictures, err := r.Pictures()
	if err != nil {
		return Document{}, err
	}
	page, err := r.HTML(true)
	if err != nil {
		return Document{}, err
	}
	data, err := r.encode()
	if err != nil {
		return Document{}, err
	}
	return Document{
		ID: r.ID, Title: plain(r.Name) + ": " + string(r.Verdict.Level) + ", " + r.Verdict.Text, Summary: r.Text(),
		Markdown: r.Markdown(), HTML: string(page), JSON: data, PNGs: pictures,
	}, nil
}
