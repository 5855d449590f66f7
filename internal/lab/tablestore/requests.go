package tablestore

import (
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxSeen is how many requests are remembered.
const maxSeen = 10_000

// Request is one request as it was asked and answered, without secrets: no
// signature, token or row, but the ID of the key.
type Request struct {
	At        time.Time     `json:"at"` // of the clock that is not set wrong
	RequestID string        `json:"request_id"`
	Client    string        `json:"client"` // address and port: a connection
	TLS       bool          `json:"tls"`
	Method    string        `json:"method"`
	Operation string        `json:"operation"` // GET for a request for /, as of a probe
	Instance  string        `json:"instance,omitempty"`
	Tables    []string      `json:"tables,omitempty"`
	KeyID     string        `json:"key_id,omitempty"`
	UserAgent string        `json:"user_agent,omitempty"`
	Status    int           `json:"status"`            // 0 for no answer
	Code      string        `json:"code,omitempty"`    // of an error
	Message   string        `json:"message,omitempty"` // of an error
	In        int           `json:"bytes_in"`
	Out       int           `json:"bytes_out"`
	Duration  time.Duration `json:"duration_ns"` // until there was an answer to send
	Fault     Kind          `json:"fault,omitempty"`
	Panic     string        `json:"panic,omitempty"` // what a handler died of
}

// history is the last requests, in a ring.
type history struct {
	mu   sync.Mutex
	ring []Request
	next int
}

func (h *history) add(q Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < maxSeen {
		h.ring = append(h.ring, q)
		return
	}
	h.ring[h.next] = q
	h.next = (h.next + 1) % maxSeen
}

// Filter is which requests are meant; what is empty means all.
type Filter struct {
	Operation, Instance, Table, KeyID, Code string
	Last                                    int // the newest so many; all if 0
}

func (f Filter) match(q *Request) bool {
	return (f.Operation == "" || f.Operation == q.Operation) &&
		(f.Instance == "" || f.Instance == q.Instance) &&
		(f.Table == "" || slices.Contains(q.Tables, f.Table)) &&
		(f.KeyID == "" || f.KeyID == q.KeyID) &&
		(f.Code == "" || f.Code == q.Code)
}

// Requests are the requests so far that the filter lets through, oldest first.
// A request is among them when its answer is about to be sent or lost. The
// last 10,000 of all are remembered.
func (s *Server) Requests(f Filter) []Request {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	out := []Request{}
	for i := range s.seen.ring {
		q := &s.seen.ring[(s.seen.next+i)%len(s.seen.ring)]
		if f.match(q) {
			out = append(out, *q)
		}
	}
	if f.Last > 0 && len(out) > f.Last {
		out = slices.Clone(out[len(out)-f.Last:])
	}
	return out
}

// Forget empties the history.
func (s *Server) Forget() {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	s.seen.ring, s.seen.next = nil, 0
}

// maxTables is how many tables of one request are looked at.
const maxTables = 200

// tablesOf are the tables that a request is about. It reads no more than the
// names, so that what is wrong with the rest is for the operation to say.
func tablesOf(op string, body []byte) []string {
	path := tablePaths[op]
	of := func(name string) string { return name }
	switch op {
	case "DescribeStream", "GetShardIterator":
		path, of = []protowire.Number{1}, streamTable
	case "GetStreamRecord": // the name of the table need not be there, the iterator must
		path, of = []protowire.Number{1}, func(iterator string) string {
			at, _ := parseCursor(iterator)
			return streamTable(at.stream)
		}
	}
	if len(path) == 0 {
		return nil
	}
	found := [][]byte{body}
	for _, field := range path {
		var inside [][]byte
		for _, m := range found {
			inside = append(inside, fieldsAt(m, field, maxTables-len(inside))...)
		}
		found = inside
	}
	var out []string
	for _, text := range found {
		if name := clip(of(string(text))); name != "" {
			out = append(out, strings.Clone(name)) // it may be a piece of something long
		}
	}
	return out
}

// fieldsAt are the values of a field of bytes, at most so many of them.
func fieldsAt(b []byte, field protowire.Number, most int) [][]byte {
	var out [][]byte
	for len(b) > 0 && len(out) < most {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return out
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(num, typ, b)
		if size < 0 {
			return out
		}
		if num == field && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			out = append(out, v)
		}
		b = b[size:]
	}
	return out
}
