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
	// watchBeat is the greatest: a client that hears nothing for longer knows
	// that the connection is dead, and ages in the views stay fresh.
	watchBeat = 5 * time.Second
	// maxEvent bounds one event, in bytes, against a server gone wrong.
	maxEvent = 16 << 20
)

// getWatch streams the views of all instances, or of one, as server-sent
// events (WHATWG HTML, section 9.2): one at once, one after every change, and
// one for every beat.
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
		gap := time.NewTimer(watchGap)
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

func (s *Server) writeEvent(w io.Writer, rc *http.ResponseController, name failover.InstanceName) error {
	vs := s.views()
	if name != "" {
		v, ok := s.cfg.Instances.View(name)
		if !ok {
			return fmt.Errorf("instance %s is gone", name)
		}
		vs = []failover.View{v}
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
