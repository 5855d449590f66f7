package notify

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// HeartbeatStats counts the calls of an outside watcher.
type HeartbeatStats struct {
	Sent, Failed uint64
	Skipped      uint64 // not sent, because all was not well
	LastError    string
}

// pulse calls the watcher.
type pulse struct {
	h *Heartbeat
	g *guarded

	mu    sync.Mutex
	stats HeartbeatStats
}

func newPulse(h *Heartbeat, o outer) (*pulse, error) {
	if h == nil {
		return nil, nil
	}
	if h.Trouble != nil {
		return nil, h.Trouble
	}
	if err := checkURL(h.URL); err != nil {
		return nil, err
	}
	return &pulse{h: h, g: newGuarded(&dialer{allow: h.Allow, lookup: o.lookup, dial: o.dial}, o.roots, timeoutHTTP)}, nil
}

// beat calls once if all is well.
func (p *pulse) beat(ctx context.Context, well bool) error {
	var err error
	if well {
		err = p.call(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !well:
		p.stats.Skipped++
	case err != nil:
		p.stats.Failed++
		p.stats.LastError = err.Error()
	default:
		p.stats.Sent++
		p.stats.LastError = ""
	}
	return err
}

func (p *pulse) call(ctx context.Context) error {
	raw := strings.TrimSpace(p.h.URL)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, raw, nil)
	if err != nil {
		return errURL
	}
	r.Header.Set("User-Agent", "pointsman")
	resp, said, err := exchange(ctx, p.g, r)
	if err == nil {
		err = judge(resp, said, time.Now())
	}
	return hide(err, secretsOf(raw))
}

func (p *pulse) counted() HeartbeatStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}
