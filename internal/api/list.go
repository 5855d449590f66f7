package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"pointsman/internal/failover"
)

const (
	// MaxViews is the most views that one answer or one event carries; more
	// are had page by page.
	MaxViews = 500
	// nextHeader names the last instance of a page after which there are more,
	// or the place of the first line of a page before which there may be more.
	nextHeader = "Pointsman-Next"
	// maxWhy bounds the different words on one thing in a summary.
	maxWhy = 8
)

// NeedsLook says in a word why a person should look at the instance, or
// nothing: it is idle, leads, and both its clusters are up.
func NeedsLook(v *failover.View) string {
	switch {
	case v.Op != nil && v.Op.Held != nil:
		return "held"
	case v.Op != nil:
		return "moving"
	case !v.Leading:
		return "not leading"
	case v.Phase == failover.PhaseAdopting:
		return "adopting"
	case v.Wants != "":
		return "wants to move"
	case !v.AuthFault.IsZero():
		return "auth fault"
	case len(v.Stops) > 0:
		return "stopped: " + string(v.Stops[0].Kind)
	}
	for _, c := range v.Clusters {
		if c.Verdict != failover.Up {
			return c.Role + " " + c.Verdict.String()
		}
	}
	return ""
}

// urgency sorts what needs a look: what waits for a person comes first.
func urgency(word string) int {
	order := []string{"held", "wants to move", "moving", "auth fault", "active down", "active unknown", "standby down", "standby unknown", "not leading", "adopting"}
	if i := slices.Index(order, word); i >= 0 {
		return i
	}
	return len(order)
}

// Summary is what all instances together are doing.
type Summary struct {
	At        time.Time                 `json:"at"`
	Instances int                       `json:"instances"`
	Leading   int                       `json:"leading"`
	Phases    map[failover.Phase]int    `json:"phases"`
	Modes     map[string]int            `json:"modes"`
	Verdicts  map[string]map[string]int `json:"verdicts"` // by role, then by verdict
	Held      int                       `json:"held"`
	Stops     map[failover.StopKind]int `json:"stops"`
	NeedLook  int                       `json:"need_look"`
	Looks     map[string]int            `json:"looks"`              // what needs a look, by why
	LeadWhy   []string                  `json:"lead_why,omitempty"` // why instances do not lead, each reason once, at most 8
}

// NewSummary returns a summary of nothing.
func NewSummary(at time.Time) *Summary {
	return &Summary{
		At: at, Phases: map[failover.Phase]int{}, Modes: map[string]int{}, Stops: map[failover.StopKind]int{},
		Verdicts: map[string]map[string]int{}, Looks: map[string]int{},
	}
}

// Add counts one instance and returns the word of [NeedsLook].
func (s *Summary) Add(v *failover.View) string {
	s.Instances++
	s.Phases[v.Phase]++
	s.Modes[v.Mode]++
	if v.Leading {
		s.Leading++
	} else if len(s.LeadWhy) < maxWhy && !slices.Contains(s.LeadWhy, v.LeadWhy) {
		s.LeadWhy = append(s.LeadWhy, v.LeadWhy)
	}
	for _, c := range v.Clusters {
		by := s.Verdicts[c.Role]
		if by == nil {
			by = map[string]int{}
			s.Verdicts[c.Role] = by
		}
		by[c.Verdict.String()]++
	}
	if v.Op != nil && v.Op.Held != nil {
		s.Held++
	}
	seen := make(map[failover.StopKind]bool, len(v.Stops))
	for _, x := range v.Stops { // drift may stand for several names
		if !seen[x.Kind] {
			seen[x.Kind] = true
			s.Stops[x.Kind]++
		}
	}
	word := NeedsLook(v)
	if word != "" {
		s.NeedLook++
		s.Looks[word]++
	}
	return word
}

func (s *Server) getSummary(w http.ResponseWriter, r *http.Request) {
	sum := NewSummary(time.Now())
	for _, n := range s.cfg.Instances.Names() {
		if r.Context().Err() != nil {
			return
		}
		if v, ok := s.cfg.Instances.Sketch(n); ok {
			sum.Add(&v)
		}
	}
	writeJSON(w, http.StatusOK, sum)
}

// ListQuery narrows a listing of instances.
type ListQuery struct {
	After    failover.InstanceName // continue after this one, in the order of the config
	Limit    int                   // 1 to MaxViews; 0 is MaxViews
	NeedLook string                // "yes": only what needs a look, the most urgent first and without pages
}

func (q ListQuery) encode() string {
	v := url.Values{"limit": {strconv.Itoa(cmp.Or(q.Limit, MaxViews))}}
	if q.After != "" {
		v.Set("after", string(q.After))
	}
	if q.NeedLook != "" {
		v.Set("need_look", q.NeedLook)
	}
	return "?" + v.Encode()
}

// listInstances answers a page of the views of all instances, written one by
// one.
func (s *Server) listInstances(w http.ResponseWriter, r *http.Request) {
	q, err := listQuery(r.URL.Query())
	if err != nil {
		writeProblem(w, Problem{Status: http.StatusBadRequest, Message: err.Error()})
		return
	}
	if q.NeedLook != "" {
		writeJSON(w, http.StatusOK, s.urgent(q.Limit))
		return
	}
	names := s.cfg.Instances.Names()
	if q.After != "" {
		i := slices.Index(names, q.After)
		if i < 0 {
			writeProblem(w, Problem{Status: http.StatusGone, Message: fmt.Sprintf("after: there is no instance %.80q any more", string(q.After)), Hint: "list from the beginning again"})
			return
		}
		names = names[i+1:]
	}
	if limit := cmp.Or(q.Limit, MaxViews); len(names) > limit {
		names = names[:limit]
		w.Header().Set(nextHeader, string(names[len(names)-1]))
	}
	s.writeViews(w, names)
}

func listQuery(v url.Values) (ListQuery, error) {
	q := ListQuery{After: failover.InstanceName(v.Get("after")), NeedLook: v.Get("need_look")}
	if l := v.Get("limit"); l != "" {
		n, err := strconv.Atoi(l)
		if err != nil || n < 1 || n > MaxViews {
			return q, fmt.Errorf("limit: %.40q is outside 1 to %d", l, MaxViews)
		}
		q.Limit = n
	}
	if q.NeedLook != "" && q.NeedLook != "yes" {
		return q, fmt.Errorf("need_look: %.40q is not yes", q.NeedLook)
	}
	return q, nil
}

// writeViews never holds more than one view in memory.
func (s *Server) writeViews(w http.ResponseWriter, names []failover.InstanceName) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	sep := []byte("[")
	for _, n := range names {
		v, ok := s.cfg.Instances.View(n)
		if !ok { // a reload took it
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		if _, err := w.Write(append(sep, data...)); err != nil {
			return // the client has gone
		}
		sep = []byte(",")
	}
	if sep[0] == '[' {
		_, _ = w.Write(sep)
	}
	_, _ = w.Write([]byte("]\n"))
}

// urgent returns the instances that need a look, the most urgent first.
func (s *Server) urgent(limit int) []failover.View {
	limit = cmp.Or(limit, MaxViews)
	type found struct {
		name failover.InstanceName
		rank int
	}
	byRank := func(a, b found) int { return cmp.Compare(a.rank, b.rank) }
	var fs []found
	for _, n := range s.cfg.Instances.Names() {
		v, ok := s.cfg.Instances.Sketch(n)
		if !ok {
			continue
		}
		if word := NeedsLook(&v); word != "" {
			fs = append(fs, found{n, urgency(word)})
		}
		if len(fs) >= 2*limit {
			slices.SortStableFunc(fs, byRank)
			fs = fs[:limit]
		}
	}
	slices.SortStableFunc(fs, byRank)
	vs := make([]failover.View, 0, min(limit, len(fs)))
	for _, f := range fs[:min(limit, len(fs))] {
		if v, ok := s.cfg.Instances.View(f.name); ok {
			vs = append(vs, v)
		}
	}
	return vs
}
