package tablestore

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

// Kind is a way in which a call goes wrong.
type Kind string

// Kinds of faults.
const (
	ErrorCode Kind = "error"     // the error that Code, Message and Status say
	Throttled Kind = "throttled" // OTSFlowControl or Code, beyond Rate calls a second
	Partition Kind = "partition" // one partition is unavailable: OTSPartitionUnavailable or Code, for its rows alone
	Late      Kind = "late"      // Delay before it is done; with After, before it is answered
	Stalled   Kind = "stall"     // no answer; the connection stays open
	Drop      Kind = "drop"      // the connection ends without an answer
	Reset     Kind = "reset"     // the connection is reset
	Truncated Kind = "truncated" // half of the answer that the head promised, then the connection ends
	Corrupted Kind = "corrupted" // the body is changed on its way; digest and signature are those of the right one
	Malformed Kind = "malformed" // half of the message, with digest and signature to match
	Empty     Kind = "empty"     // 200 and nothing
	Unsigned  Kind = "unsigned"  // the answer without the headers of the protocol
	SlowBody  Kind = "slow-body" // the head at once, then a byte each Delay
	HTML      Kind = "html"      // 502 and a page, as from a proxy in between
)

// Kinds are all kinds of faults.
var Kinds = []Kind{
	ErrorCode, Throttled, Partition, Late, Stalled, Drop, Reset, Truncated, Corrupted, Malformed, Empty, Unsigned, SlowBody, HTML,
}

// Fault is one way to go wrong, for the calls that it matches.
type Fault struct {
	Kind Kind `json:"kind"`
	// After lets the call be done first, so that its change is durable and only
	// the answer is lost or wrong. Without it error, throttled, late, stall,
	// drop, reset and html come before anything is done; the other kinds always
	// do what was asked.
	After bool `json:"after,omitempty"`

	// Which calls; what is empty matches all. The operation GET is a request
	// for the endpoint itself, as of a probe; an empty one does not match it,
	// nor the actions of the control API, as UpdateInstancePolicy.
	Operation string `json:"operation,omitempty"`
	Instance  string `json:"instance,omitempty"`
	Table     string `json:"table,omitempty"`
	Key       string `json:"key,omitempty"`  // ID of the access key
	Skip      int    `json:"skip,omitempty"` // so many matching calls go well first
	// Share is how many of the calls it applies to, drawn by lot; all if 0.
	Share float64 `json:"share,omitempty"`

	// For ends the fault that long after it was asked for; 0 is never.
	For time.Duration `json:"for_ns,omitempty"`

	Code    string        `json:"code,omitempty"`     // of error, throttled, partition
	Message string        `json:"message,omitempty"`  // the usual one of the code if empty
	Status  int           `json:"status,omitempty"`   // that of the code if 0
	Delay   time.Duration `json:"delay_ns,omitempty"` // of late and slow-body
	Rate    float64       `json:"rate,omitempty"`     // of throttled: calls a second that go well; none if 0

	// Of partition: the one that the partition key Of belongs to, or all keys
	// from From on and below To. A key is written as decimal digits where it is
	// an integer. The table and, if there are several, the instance must be given.
	Of   *string `json:"of,omitempty"`
	From *string `json:"from,omitempty"`
	To   *string `json:"to,omitempty"`
}

func (f Fault) validate() error {
	switch {
	case !slices.Contains(Kinds, f.Kind):
		return fmt.Errorf("fault %q: there are %v", f.Kind, Kinds)
	case f.Kind == ErrorCode && f.Code == "":
		return fmt.Errorf("fault %s: which code, as OTSServerBusy", f.Kind)
	case f.Code != "" && codes[f.Code].status == 0 && (f.Status == 0 || f.Message == ""):
		return fmt.Errorf("fault %s: code %s is not one of the service; then it takes a status and a message", f.Kind, clip(f.Code))
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("fault %s: status %d, 400 to 599", f.Kind, f.Status)
	case (f.Kind == Late || f.Kind == SlowBody) && f.Delay <= 0:
		return fmt.Errorf("fault %s: a delay above 0", f.Kind)
	case f.Skip < 0:
		return fmt.Errorf("fault %s: skip %d, at least 0", f.Kind, f.Skip)
	case !(f.Share >= 0 && f.Share <= 1):
		return fmt.Errorf("fault %s: share %v, 0 to 1", f.Kind, f.Share)
	case f.For < 0:
		return fmt.Errorf("fault %s: for %s, at least 0", f.Kind, f.For)
	case f.Rate < 0:
		return fmt.Errorf("fault %s: rate %v, at least 0", f.Kind, f.Rate)
	case f.Kind == Partition && f.Table == "":
		return fmt.Errorf("fault %s: of which table", f.Kind)
	case f.Kind == Partition && f.Of != nil && (f.From != nil || f.To != nil):
		return fmt.Errorf("fault %s: of a key, or from and to, not both", f.Kind)
	case f.Kind != Partition && (f.Of != nil || f.From != nil || f.To != nil):
		return fmt.Errorf("fault %s: a partition key is for %s alone", f.Kind, Partition)
	}
	return nil
}

// refusal is the error that a fault answers.
func (f *Fault) refusal(code string) *refusal {
	code = cmp.Or(f.Code, code)
	known := codes[code]
	return &refusal{status: cmp.Or(f.Status, known.status), code: code, message: cmp.Or(f.Message, known.message)}
}

// Pending is a fault that still waits for calls.
type Pending struct {
	ID    int       `json:"id"`
	Fault Fault     `json:"fault"`
	Left  int       `json:"left"` // below 0 without end
	Until time.Time `json:"until,omitzero"`

	from, to []byte  // of partition: codes of keys; nil is open
	tokens   float64 // of throttled
	at       time.Time
}

// faults are those that wait for calls.
type faults struct {
	armed   atomic.Int32 // how many there are, for calls that need not look
	mu      sync.Mutex
	pending []*Pending
	last    int
}

// Fail lets the next so many calls that the fault matches go wrong; times
// below 0 is without end. Of several faults that match a call the oldest
// counts it and applies; a fault of a partition applies beside it, to the rows
// of the partition, and counts them. The number returned is for Heal.
func (s *Server) Fail(f Fault, times int) (int, error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	if times == 0 {
		return 0, fmt.Errorf("fault %s for no call", f.Kind)
	}
	p := &Pending{Fault: f, Left: times, at: time.Now(), tokens: max(f.Rate, 1)}
	if f.For > 0 {
		p.Until = p.at.Add(f.For)
	}
	if f.Kind == Partition {
		if err := s.resolve(p); err != nil {
			return 0, err
		}
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.last++
	p.ID = s.faults.last
	s.faults.pending = append(s.faults.pending, p)
	s.faults.tidy()
	return p.ID, nil
}

// tidy forgets faults that have ended. mu is held.
func (f *faults) tidy() {
	now := time.Now()
	f.pending = slices.DeleteFunc(f.pending, func(p *Pending) bool {
		return p.Left == 0 || !p.Until.IsZero() && !now.Before(p.Until)
	})
	f.armed.Store(int32(len(f.pending))) // people write them
}

// Heal takes faults away: those of these numbers, or all.
func (s *Server) Heal(ids ...int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.pending = slices.DeleteFunc(s.faults.pending, func(p *Pending) bool { return len(ids) == 0 || slices.Contains(ids, p.ID) })
	s.faults.tidy()
}

// Faults are those that still wait for calls.
func (s *Server) Faults() []Pending {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.tidy()
	out := make([]Pending, 0, len(s.faults.pending))
	for _, p := range s.faults.pending {
		out = append(out, *p)
	}
	return out
}

// hit counts a call, and says whether the fault applies to it. mu is held.
func (p *Pending) hit(now time.Time) bool {
	switch {
	case p.Left == 0 || !p.Until.IsZero() && !now.Before(p.Until):
		return false
	case p.Fault.Skip > 0:
		p.Fault.Skip--
		return false
	case p.Fault.Share > 0 && rand.Float64() >= p.Fault.Share: //nolint:gosec // it is no secret
		return false
	}
	if p.Fault.Rate > 0 {
		p.tokens = min(max(p.Fault.Rate, 1), p.tokens+now.Sub(p.at).Seconds()*p.Fault.Rate)
		if p.at = now; p.tokens >= 1 {
			p.tokens--
			return false
		}
	}
	if p.Left > 0 {
		p.Left--
	}
	return true
}

// strike is the fault that a request has to bear, if any. c is nil for one
// that is no call.
func (s *Server) strike(op string, c *call) *Fault {
	if s.faults.armed.Load() == 0 {
		return nil
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	now := time.Now()
	for _, p := range s.faults.pending {
		f := &p.Fault
		if f.Kind == Partition || f.Operation != op && (f.Operation != "" || c == nil || c.control) ||
			f.Instance != "" && (c == nil || c.inst.name != f.Instance) ||
			f.Key != "" && (c == nil || c.key.ID != f.Key) ||
			f.Table != "" && (c == nil || !slices.Contains(c.tables, f.Table)) ||
			!p.hit(now) {
			continue
		}
		struck := *f
		s.faults.tidy()
		return &struck
	}
	return nil
}

// partition says why the rows of a partition cannot be had just now, if so.
// Whatever reads or writes rows of a table asks for each row, or for each
// partition that it touches, with the code of a partition key of it, before it
// does anything; in a batch the answer is that of the row.
func (c *call) partition(t *table, key []byte) *refusal {
	if d := c.s.readyDelay.Load(); d != 0 && c.now.UnixMicro()-t.Created < d/1000 {
		return usual(codeTableNotReady)
	}
	if c.s.faults.armed.Load() == 0 {
		return nil
	}
	c.s.faults.mu.Lock()
	defer c.s.faults.mu.Unlock()
	now := time.Now()
	for _, p := range c.s.faults.pending {
		f := &p.Fault
		if f.Kind != Partition || f.Table != t.Name || f.Instance != t.in.name ||
			f.Operation != "" && f.Operation != c.op || f.Key != "" && f.Key != c.key.ID ||
			bytes.Compare(key, p.from) < 0 || p.to != nil && bytes.Compare(key, p.to) >= 0 || !p.hit(now) {
			continue
		}
		ref := f.refusal(codePartition)
		c.s.faults.tidy()
		return ref
	}
	return nil
}

// resolve finds the range of keys of a fault of a partition. What the
// partition is split into later is still meant.
func (s *Server) resolve(p *Pending) error {
	f := &p.Fault
	in, err := s.only(f.Instance)
	if err != nil {
		return fmt.Errorf("fault %s: %w", f.Kind, err)
	}
	f.Instance = in.name
	t, ref := in.table(f.Table)
	if ref != nil {
		return fmt.Errorf("fault %s: there is no table %s in instance %s", f.Kind, clip(f.Table), in.name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	code := func(text *string) (b []byte, err error) {
		if text != nil {
			b, err = t.partitionKey(*text)
		}
		return b, err
	}
	if p.from, err = code(f.From); err == nil {
		p.to, err = code(f.To)
	}
	if err != nil {
		return fmt.Errorf("fault %s: %w", f.Kind, err)
	}
	if f.Of == nil {
		return nil
	}
	of, err := code(f.Of)
	if err != nil {
		return fmt.Errorf("fault %s: %w", f.Kind, err)
	}
	for i, part := range t.Parts {
		if bytes.Compare(part.From, of) > 0 {
			break
		}
		p.from, p.to = part.From, nil
		if i+1 < len(t.Parts) {
			p.to = t.Parts[i+1].From
		}
	}
	return nil
}

// before makes a request bear what comes before anything is done. prevented
// says that nothing is to be done; then ref is the answer, if there is one.
func (x *exchange) before(c *call) (prevented bool, ref *refusal) {
	f := x.s.strike(x.seen.Operation, c)
	if f == nil {
		return false, nil
	}
	x.fault, x.seen.Fault = f, f.Kind
	if f.After {
		return false, nil
	}
	switch f.Kind {
	case ErrorCode:
		return true, f.refusal("")
	case Throttled:
		return true, f.refusal(codeFlowControl)
	case Late:
		// A server that is late does its work even if nobody waits any more.
		x.s.wait(nil, f.Delay)
		return false, nil
	case Stalled, Drop, Reset, HTML:
		return true, nil
	}
	return false, nil
}

// after is the error that stands for what was done, if the fault has one.
func (f *Fault) after() *refusal {
	switch {
	case f == nil || !f.After:
	case f.Kind == ErrorCode:
		return f.refusal("")
	case f.Kind == Throttled:
		return f.refusal(codeFlowControl)
	}
	return nil
}

// send writes an answer in the way of the fault.
func (x *exchange) send(status int, body []byte) {
	w, r := x.w, x.r
	var kind Kind
	if x.fault != nil {
		kind = x.fault.Kind
	}
	switch kind {
	case Stalled:
		x.remember()
		x.s.wait(r, 0)
		panic(http.ErrAbortHandler)
	case Drop:
		x.remember()
		panic(http.ErrAbortHandler)
	case Reset:
		x.remember()
		reset(w)
		return
	case Late:
		if x.fault.After {
			x.s.wait(r, x.fault.Delay)
		}
	case Malformed:
		body = body[:len(body)/2]
	case Empty:
		body = nil
	case HTML:
		x.seen.Status = http.StatusBadGateway
		x.remember()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"))
		return
	}
	h := w.Header()
	if kind != Unsigned && !x.control {
		answerHeaders(h, x.path, x.r.Header.Get(headerKey), x.by, x.seen.RequestID, x.s.now(), body)
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = []string{"application/x-protobuf"}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.seen.Status, x.seen.Out = status, len(body)
	x.remember()
	w.WriteHeader(status)
	// A client that went away is no concern of the server.
	flush := http.NewResponseController(w)
	switch kind {
	case Truncated:
		_, _ = w.Write(body[:len(body)/2])
		_ = flush.Flush()
		panic(http.ErrAbortHandler)
	case Corrupted:
		_, _ = w.Write(corrupt(body))
	case SlowBody:
		for i := range body {
			if _, err := w.Write(body[i : i+1]); err != nil || flush.Flush() != nil || !x.s.wait(r, x.fault.Delay) {
				panic(http.ErrAbortHandler)
			}
		}
	default:
		_, _ = w.Write(body)
	}
}

// corrupt changes the last byte of a body.
func corrupt(body []byte) []byte {
	body = bytes.Clone(body)
	if len(body) > 0 {
		body[len(body)-1] ^= 0xFF
	}
	return body
}

// wait waits for that long, or without end where it is 0, and says whether the
// client, if it matters, and the server are still there.
func (s *Server) wait(r *http.Request, d time.Duration) bool {
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	var gone <-chan struct{}
	if r != nil {
		gone = r.Context().Done()
	}
	select {
	case <-after:
		return true
	case <-gone:
	case <-s.ctx.Done():
	}
	return false
}

// reset ends the connection so that its other side sees a reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for { // below TLS, and below what stalls it
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

// partitionKey is the code of a partition key that somebody has written down.
func (t *table) partitionKey(text string) ([]byte, error) {
	v := plainbuffer.Value{Kind: kindOf(t.Keys[0].Type), Bytes: text}
	if v.Kind == plainbuffer.Integer {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("partition key %q of table %s: it is an integer", clip(text), t.Name)
		}
		v = plainbuffer.Value{Kind: v.Kind, Int: n}
	}
	return appendKeyValue(nil, v), nil
}
