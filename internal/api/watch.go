package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"pointsman/internal/failover"
)

const (
	// watchGap is the least time between two events of one watch: changes in
	// between are seen together.
	watchGap = 50 * time.Millisecond
	// longGap is the same where there are more than MaxViews instances, of
	// which every one is looked at for an event.
	longGap = time.Second
	// watchBeat is the greatest: a client that hears nothing for longer knows
	// that the connection is dead, and ages in the views stay fresh.
	watchBeat = 5 * time.Second
	// maxEvent bounds one event, in bytes, against a server gone wrong.
	maxEvent = 16 << 20
)

// getWatch streams the views of all instances, or of one, as server-sent
// events (WHATWG HTML, section 9.2): one at once, one after every change, and
// one for every beat. Where there are more than MaxViews instances, an event
// about all has those that need a look, the most urgent first.
func (s *Server) getWatch(w http.ResponseWriter, r *http.Request) {
	name := failover.InstanceName(r.URL.Query().Get("instance"))
	if name != "" {
		if _, ok := s.lookUp(w, name); !ok {
			return
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	rc := http.NewResponseController(w)
	beat := time.NewTimer(watchBeat)
	defer beat.Stop()
	for {
		changed := s.cfg.Instances.Changed() // before reading, so that no change is missed
		if err := s.writeEvent(w, rc, name); err != nil {
			return
		}
		gap := time.NewTimer(s.gap(name))
		select {
		case <-gap.C:
		case <-r.Context().Done():
			gap.Stop()
			return
		case <-s.closing:
			gap.Stop()
			return
		}
		beat.Reset(watchBeat)
		select {
		case <-changed:
		case <-beat.C:
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		}
	}
}

func (s *Server) gap(name failover.InstanceName) time.Duration {
	if name == "" && len(s.cfg.Instances.Names()) > MaxViews {
		return longGap
	}
	return watchGap
}

// watched is what an event shows.
func (s *Server) watched(name failover.InstanceName) ([]failover.View, error) {
	names := []failover.InstanceName{name}
	if name == "" {
		names = s.cfg.Instances.Names()
	}
	if len(names) > MaxViews {
		return s.urgent(MaxViews), nil
	}
	vs := make([]failover.View, 0, len(names))
	for _, n := range names {
		if v, ok := s.cfg.Instances.View(n); ok {
			vs = append(vs, v)
		}
	}
	if name != "" && len(vs) == 0 {
		return nil, fmt.Errorf("instance %s is gone", name)
	}
	return vs, nil
}

func (s *Server) writeEvent(w io.Writer, rc *http.ResponseController, name failover.InstanceName) error {
	vs, err := s.watched(name)
	if err != nil {
		return err
	}
	data, err := json.Marshal(vs)
	if err != nil {
		return fmt.Errorf("marshal views: %w", err)
	}
	if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("renew deadline: %w", err)
	}
	if _, err := fmt.Fprintf(w, "event: views\ndata: %s\n\n", data); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return rc.Flush()
}

// readEvents calls f with the views of every event until the stream ends or f
// returns an error.
func readEvents(r io.Reader, f func([]failover.View) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxEvent)
	for sc.Scan() {
		data, ok := bytes.CutPrefix(sc.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var vs []failover.View
		if err := json.Unmarshal(data, &vs); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if err := f(vs); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return io.ErrUnexpectedEOF
}
