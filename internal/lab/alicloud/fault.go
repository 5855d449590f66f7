package alicloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is a way in which a call goes wrong.
type Kind string

// Kinds of faults.
const (
	InternalError Kind = "internal-error"              // 500 InternalError
	Unavailable   Kind = "unavailable"                 // 503 ServiceUnavailable
	Throttled     Kind = "throttled"                   // 400 Throttling.User
	NotFinished   Kind = "last-operation-not-finished" // 400 LastOperationNotFinished
	Refused       Kind = "refused"                     // the error that Status, Code and Message say
	Hang          Kind = "hang"                        // no answer; the connection stays open
	Reset         Kind = "reset"                       // the connection is reset
	Late          Kind = "late"                        // answered as usual, Delay later
	SlowBody      Kind = "slow-body"                   // the head at once, then a byte each Delay
	HugeBody      Kind = "huge-body"                   // 10 MB of valid JSON
	HTML          Kind = "html"                        // 502 and a page, as from a proxy in between
	Malformed     Kind = "malformed"                   // 200 and half of the JSON
	Short         Kind = "short"                       // half of the body that the head promised
	Empty         Kind = "empty"                       // 200 and nothing
	Stale         Kind = "stale"                       // a read shows what was before the last write
	Vanish        Kind = "vanish"                      // the record is deleted by somebody right before
	SomebodyElse  Kind = "somebody-else"               // the record is changed by somebody right before, as Edit says
	NotAsked      Kind = "not-asked"                   // a write answers as if it had been done, and nothing was done
)

// hugeBody is how many bytes HugeBody adds.
const hugeBody = 10 << 20

// Kinds are all kinds of faults.
var Kinds = []Kind{
	InternalError, Unavailable, Throttled, NotFinished, Refused, Hang, Reset, Late, SlowBody, HugeBody, HTML,
	Malformed, Short, Empty, Stale, Vanish, SomebodyElse, NotAsked,
}

// Fault is one way to go wrong, for the calls that it matches.
type Fault struct {
	Kind Kind `json:"kind"`
	// After lets the action be done first, so that only the reply is lost.
	// Without it the errors, HTML, Hang and Reset do nothing. The other kinds
	// but NotAsked always do what was asked.
	After bool `json:"after,omitempty"`

	// Which calls; what is empty matches all. RR compares without case.
	Zone     string `json:"zone,omitempty"` // name or ID
	RR       string `json:"rr,omitempty"`
	Line     string `json:"line,omitempty"`
	RecordID int64  `json:"record_id,omitempty"`
	Skip     int    `json:"skip,omitempty"` // so many matching calls go well first

	Status  int           `json:"status,omitempty"`   // of Refused; 400 if 0
	Code    string        `json:"code,omitempty"`     // of Refused
	Message string        `json:"message,omitempty"`  // of Refused
	Delay   time.Duration `json:"delay_ns,omitempty"` // of Late and SlowBody
	Edit    *Edit         `json:"edit,omitempty"`     // of SomebodyElse
}

func (f Fault) validate() error {
	switch {
	case !slices.Contains(Kinds, f.Kind):
		return fmt.Errorf("fault %q: there are %v", f.Kind, Kinds)
	case f.Kind == Refused && f.Code == "":
		return fmt.Errorf("fault %s: which code", f.Kind)
	case f.Kind == SomebodyElse && f.Edit == nil:
		return fmt.Errorf("fault %s: which edit", f.Kind)
	case (f.Kind == Late || f.Kind == SlowBody) && f.Delay <= 0:
		return fmt.Errorf("fault %s: a delay above 0", f.Kind)
	case f.Skip < 0:
		return fmt.Errorf("fault %s: skip %d, at least 0", f.Kind, f.Skip)
	}
	return nil
}

// Pending is a fault that is still waiting for calls.
type Pending struct {
	ID     int    `json:"id"`
	Action string `json:"action"` // empty for any
	Fault  Fault  `json:"fault"`
	Left   int    `json:"left"` // below 0 for ever
}

// Fail lets the next so many calls of an action that the fault matches go
// wrong; times below 0 is for ever, and an empty action is any. Of several
// faults that match a call the oldest counts it and applies. The number
// returned is for Heal. It panics on a fault that makes no sense, since only
// a test can have written it.
func (s *Server) Fail(action string, f Fault, times int) int {
	id, err := s.fail(action, f, times)
	if err != nil {
		panic(err)
	}
	return id
}

func (s *Server) fail(action string, f Fault, times int) (int, error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	if times == 0 {
		return 0, fmt.Errorf("fault %s for no call", f.Kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faultID++
	s.faults = append(s.faults, &Pending{ID: s.faultID, Action: action, Fault: f, Left: times})
	return s.faultID, nil
}

// Heal takes faults away: those of these numbers, or all.
func (s *Server) Heal(ids ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(p *Pending) bool { return len(ids) == 0 || slices.Contains(ids, p.ID) })
}

// Faults are those that still wait for calls.
func (s *Server) Faults() []Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Pending, 0, len(s.faults))
	for _, p := range s.faults {
		out = append(out, *p)
	}
	return out
}

// target is what a call is about, for faults and for the history.
type target struct {
	action string
	zone   *zone
	rr     string
	line   string
	id     int64
}

// aim finds what a call is about. s.mu is held.
func (s *Server) aim(c *call) target {
	t := target{action: c.action, rr: c.params["RR"] + c.params["Rr"], line: c.params["Line"]}
	if id, err := strconv.ParseInt(c.params["RecordId"], 10, 64); err == nil {
		t.id = id
		if z, r := s.find(id, c.product.private); z != nil {
			t.zone, t.rr, t.line = z, r.RR, r.Line
		}
		return t
	}
	switch {
	case c.params["DomainName"] != "":
		t.zone = s.zoneNamed(c.params["DomainName"], false)
	case c.params["ZoneId"] != "":
		t.zone = s.zone(c.params["ZoneId"])
	case c.params["SubDomain"] != "":
		t.zone, t.rr = s.splitSubDomain(c.params["SubDomain"], "")
	}
	if t.rr == "" {
		t.rr = c.params["RRKeyWord"]
	}
	return t
}

// strike is the fault that this call has to bear, if any. s.mu is held.
func (s *Server) strike(t target) *Fault {
	for i, p := range s.faults {
		f := &p.Fault
		if p.Action != "" && p.Action != t.action ||
			f.Zone != "" && (t.zone == nil || t.zone.ID != f.Zone && t.zone.Name != canonical(f.Zone)) ||
			f.RR != "" && !strings.EqualFold(f.RR, t.rr) ||
			f.Line != "" && f.Line != t.line ||
			f.RecordID != 0 && f.RecordID != t.id {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		struck := *f
		if p.Left > 0 {
			if p.Left--; p.Left == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return &struck
	}
	return nil
}

// prevents says whether the action is not done, and the error that stands for
// it where one is answered.
func (f *Fault) prevents() (bool, *apiError) {
	var e *apiError
	switch f.Kind {
	case InternalError:
		e = refuse(http.StatusInternalServerError, "InternalError", "The request processing has failed due to some unknown error.")
	case Unavailable:
		e = refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
	case Throttled:
		e = throttled()
	case NotFinished:
		e = bad("LastOperationNotFinished", "The last operation is not finished.")
	case Refused:
		status := f.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		e = refuse(status, f.Code, "%s", f.Message)
	case Hang, Reset, HTML:
	default:
		return false, nil
	}
	return !f.After, e
}

func throttled() *apiError {
	return bad("Throttling.User", "Request was denied due to user flow control.")
}

// deliver sends the answer in the way of the fault, which may be nil.
func deliver(w http.ResponseWriter, r *http.Request, f *Fault, status int, answer obj) {
	body := encode(answer)
	var kind Kind
	if f != nil {
		kind = f.Kind
	}
	switch kind {
	case Hang:
		wait(r, 0)
		panic(http.ErrAbortHandler)
	case Reset:
		reset(w)
		return
	case Late:
		if !wait(r, f.Delay) {
			panic(http.ErrAbortHandler)
		}
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"))
		return
	case Malformed:
		body = body[:len(body)/2]
	case Empty:
		body = nil
	case HugeBody:
		answer["Padding"] = strings.Repeat("x", hugeBody)
		body = encode(answer)
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A client that went away is no concern of the server.
	flush := http.NewResponseController(w)
	switch kind {
	case Short:
		_, _ = w.Write(body[:len(body)/2])
		_ = flush.Flush()
		panic(http.ErrAbortHandler)
	case SlowBody:
		for i := range body {
			if _, err := w.Write(body[i : i+1]); err != nil || flush.Flush() != nil || !wait(r, f.Delay) {
				panic(http.ErrAbortHandler)
			}
		}
	default:
		_, _ = w.Write(body)
	}
}

// encode writes JSON as the vendor does, with & as it is.
func encode(answer obj) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(answer); err != nil {
		panic(fmt.Sprintf("answer %v: %v", answer, err)) // it is made of what JSON can say
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// wait waits for that long, or for ever where it is 0, and says whether the
// client and the server are still there.
func wait(r *http.Request, d time.Duration) bool {
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-after:
		return true
	case <-r.Context().Done(): // that of the server is its parent
	}
	return false
}

// reset ends the connection so that its other side sees a reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for { // below TLS, and below what a proxy put around it
		c, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = c.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
