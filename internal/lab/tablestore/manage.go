package tablestore

import (
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Manage is the address of the management API, http://host:port; it wants the
// bearer token ManageToken. docs/lab-tablestore.md says what it can do.
func (s *Server) Manage() string { return "http://" + s.manage.address }

// ManageToken opens the management API.
func (s *Server) ManageToken() string { return s.manageToken }

// maxManage bounds a body of the management API, in bytes.
const maxManage = 1 << 20

// routes are the management API. What one returns is told as JSON, an error
// with status 400.
var routes = map[string]func(*Server, *http.Request) (any, error){
	"GET /status":    func(s *Server, _ *http.Request) (any, error) { return s.Status(), nil },
	"GET /tables":    (*Server).manageTables,
	"GET /keys":      (*Server).manageKeys,
	"POST /keys":     posted(func(s *Server, k Key) (any, error) { return fine(s.AddKey(k)) }),
	"GET /requests":  (*Server).manageRequests,
	"GET /faults":    func(s *Server, _ *http.Request) (any, error) { return s.Faults(), nil },
	"POST /stall":    func(s *Server, _ *http.Request) (any, error) { s.Stall(); return fine(nil) },
	"POST /resume":   func(s *Server, _ *http.Request) (any, error) { s.Resume(); return fine(nil) },
	"POST /kill":     func(s *Server, _ *http.Request) (any, error) { return fine(s.Kill()) },
	"POST /revive":   func(s *Server, _ *http.Request) (any, error) { return fine(s.Revive()) },
	"DELETE /faults": func(s *Server, _ *http.Request) (any, error) { s.Heal(); return fine(nil) },
	"DELETE /requests": func(s *Server, _ *http.Request) (any, error) {
		s.Forget()
		return fine(nil)
	},
	"DELETE /keys/{id}": func(s *Server, r *http.Request) (any, error) { return fine(s.RemoveKey(r.PathValue("id"))) },
	"POST /faults": posted(func(s *Server, p struct {
		Times int   `json:"times"`
		Fault Fault `json:"fault"`
	},
	) (any, error) {
		id, err := s.Fail(p.Fault, p.Times)
		return map[string]int{"id": id}, err
	}),
	"DELETE /faults/{id}": func(s *Server, r *http.Request) (any, error) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || !slices.ContainsFunc(s.Faults(), func(p Pending) bool { return p.ID == id }) {
			return nil, fmt.Errorf("there is no fault %s", clip(r.PathValue("id")))
		}
		s.Heal(id)
		return fine(nil)
	},
	"PUT /settings": posted((*Server).manageSettings),
	"GET /parts": func(s *Server, r *http.Request) (any, error) {
		in, err := s.only(r.URL.Query().Get("instance"))
		if err != nil {
			return nil, err
		}
		return s.Partitions(in.name, r.URL.Query().Get("table"))
	},
	"POST /split": posted(func(s *Server, p part) (any, error) {
		return p.reformed(s, func(in string) error { return s.SplitShard(in, p.Table, p.at()...) })
	}),
	"POST /merge": posted(func(s *Server, p part) (any, error) {
		return p.reformed(s, func(in string) error { return s.MergeShards(in, p.Table, p.Partition) })
	}),
	"POST /epoch": posted(func(s *Server, p part) (any, error) {
		return p.reformed(s, func(in string) error { return s.SetEpoch(in, p.Table, p.Epoch) })
	}),
	"POST /trim": posted(func(s *Server, p part) (any, error) {
		in, err := s.only(p.Instance)
		if err != nil {
			return nil, err
		}
		n, err := s.Trim(in.name, p.Table, p.Before)
		return map[string]int{"trimmed": n}, err
	}),
	"GET /policies/{instance}": func(s *Server, r *http.Request) (any, error) { return s.shownPolicy(r.PathValue("instance")) },
	"PUT /policies/{instance}": func(s *Server, r *http.Request) (any, error) {
		p, err := read[shownPolicy](r)
		if err == nil {
			err = s.SetPolicy(r.PathValue("instance"), p.Text, p.Version)
		}
		if err != nil {
			return nil, err
		}
		return s.shownPolicy(r.PathValue("instance"))
	},
	"GET /rules/policy": func(s *Server, _ *http.Request) (any, error) { return s.PolicyRules(), nil },
	"PUT /rules/policy": amended((*Server).PolicyRules, (*Server).SetPolicyRules),
	"GET /rules/global": func(s *Server, _ *http.Request) (any, error) { return s.GlobalRules(), nil },
	"PUT /rules/global": amended((*Server).GlobalRules, (*Server).SetGlobalRules),
	"POST /rpo": posted(func(s *Server, p struct {
		Instance string `json:"instance"`
		Table    string `json:"table"`
		Behind   int64  `json:"behind_ms"`
	},
	) (any, error) {
		if p.Behind < 0 || p.Behind > maxSetting {
			return nil, fmt.Errorf("behind_ms %d: out of range", p.Behind)
		}
		return fine(s.SetRPO(p.Instance, p.Table, time.Duration(p.Behind)*time.Millisecond))
	}),
	"PUT /instances/{name}": func(s *Server, r *http.Request) (any, error) {
		p, err := read[struct {
			Stopped *bool `json:"stopped"`
		}](r)
		if err == nil && p.Stopped != nil {
			err = s.SetStopped(r.PathValue("name"), *p.Stopped)
		}
		return fine(err)
	},
}

// fine is the answer of what has nothing to tell.
func fine(err error) (any, error) { return map[string]bool{"ok": true}, err }

// amended changes what a body names of something, and leaves the rest.
func amended[T any](get func(*Server) T, set func(*Server, T) error) func(*Server, *http.Request) (any, error) {
	return func(s *Server, r *http.Request) (any, error) {
		body, err := read[json.RawMessage](r)
		if err != nil {
			return nil, err
		}
		v := get(s)
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
		return fine(set(s, v))
	}
}

// posted reads a body before it does something.
func posted[T any](do func(*Server, T) (any, error)) func(*Server, *http.Request) (any, error) {
	return func(s *Server, r *http.Request) (any, error) {
		v, err := read[T](r)
		if err != nil {
			return nil, err
		}
		return do(s, v)
	}
}

func (s *Server) manageHandler() http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // a client that went away is no concern here
	}
	wrong := func(err error) any { return map[string]string{"error": err.Error()} }
	for pattern, do := range routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxManage)
			if v, err := do(s, r); err != nil {
				say(w, http.StatusBadRequest, wrong(err))
			} else {
				say(w, http.StatusOK, v)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		say(w, http.StatusNotFound, wrong(fmt.Errorf("there is no %s %s", r.Method, clip(r.URL.Path))))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.limitBody(w, r)
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !hmac.Equal([]byte(token), []byte(s.manageToken)) {
			say(w, http.StatusUnauthorized, wrong(errors.New("a bearer token is needed")))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// read decodes a body strictly.
func read[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return v, fmt.Errorf("body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, errors.New("body: more than one value")
	}
	return v, nil
}

// Status is how the server is.
type Status struct {
	Endpoint    string     `json:"endpoint"`
	TLSEndpoint string     `json:"tls_endpoint,omitempty"`
	Control     string     `json:"control"`
	Instances   []Instance `json:"instances"`
	Killed      bool       `json:"killed"`
	Stalled     bool       `json:"stalled"`
	Faults      int        `json:"faults"`
	ClockOffset int64      `json:"clock_offset_ms"`
	Ready       int64      `json:"ready_ms"`

	StreamDelay   int64 `json:"stream_delay_ms"`
	StreamTokens  int64 `json:"stream_tokens"`
	StreamRecords int64 `json:"stream_page_records"`
	StreamBytes   int64 `json:"stream_page_bytes"`
	PolicyDelay   int64 `json:"policy_delay_ms"`
}

// Status tells how the server is.
func (s *Server) Status() Status {
	st := &s.store.streams
	return Status{
		Endpoint: s.Endpoint(), TLSEndpoint: s.TLSEndpoint(), Control: s.Control(), Instances: s.Instances(),
		Killed: !s.doors[0].isOpen(), Stalled: s.gate.isShut(), Faults: len(s.Faults()),
		ClockOffset: time.Duration(s.offset.Load()).Milliseconds(), Ready: time.Duration(s.readyDelay.Load()).Milliseconds(),
		StreamDelay: time.Duration(st.delay.Load()).Milliseconds(), StreamTokens: st.tokens.Load(),
		StreamRecords: st.pageRecords.Load(), StreamBytes: st.pageBytes.Load(), PolicyDelay: s.PolicyRules().Delay.Milliseconds(),
	}
}

// part is what an order about the partitions or the stream of a table says.
type part struct {
	Instance  string    `json:"instance"`
	Table     string    `json:"table"`
	Key       string    `json:"key"`       // of split: where the second half begins; the middle if empty
	Partition int       `json:"partition"` // of merge: it and the next, from 0
	Epoch     int32     `json:"epoch"`
	Before    time.Time `json:"before"` // of trim
}

// at is the key of a split, if there is one.
func (p part) at() []any {
	if p.Key == "" {
		return nil
	}
	return []any{p.Key}
}

func (p part) reformed(s *Server, do func(instance string) error) (any, error) {
	in, err := s.only(p.Instance)
	if err != nil {
		return nil, err
	}
	if err := do(in.name); err != nil {
		return nil, err
	}
	return s.Partitions(in.name, p.Table)
}

// shownPolicy is the policy of an instance as the control API shows it, and
// what is in force.
type shownPolicy struct {
	Text    string `json:"text"`
	Version int64  `json:"version"`
	InForce string `json:"in_force"`
}

func (s *Server) shownPolicy(instance string) (p shownPolicy, err error) {
	p.Text, p.Version, p.InForce, err = s.Policy(instance)
	return p, err
}

// settings are knobs that are turned together; what is absent stays.
type settings struct {
	ClockOffset   *int64 `json:"clock_offset_ms"`
	Ready         *int64 `json:"ready_ms"`
	StreamDelay   *int64 `json:"stream_delay_ms"`
	StreamTokens  *int64 `json:"stream_tokens"`
	StreamRecords *int64 `json:"stream_page_records"`
	StreamBytes   *int64 `json:"stream_page_bytes"`
	PolicyDelay   *int64 `json:"policy_delay_ms"`
}

// maxSetting bounds a duration of the settings: some 30 years, in ms.
const maxSetting = 1e12

func (s *Server) manageSettings(p settings) (any, error) {
	const most = math.MaxInt32
	for _, k := range []struct {
		name        string
		v           *int64
		least, most int64
	}{
		{"clock_offset_ms", p.ClockOffset, -maxSetting, maxSetting},
		{"ready_ms", p.Ready, 0, maxSetting},
		{"stream_delay_ms", p.StreamDelay, 0, maxSetting},
		{"stream_tokens", p.StreamTokens, 0, most},
		{"stream_page_records", p.StreamRecords, 1, most},
		{"stream_page_bytes", p.StreamBytes, 1, most},
		{"policy_delay_ms", p.PolicyDelay, 0, time.Hour.Milliseconds()},
	} {
		if k.v != nil && (*k.v < k.least || *k.v > k.most) {
			return nil, fmt.Errorf("%s %d: %d to %d", k.name, *k.v, k.least, k.most)
		}
	}
	ms := func(v *int64) time.Duration { return time.Duration(*v) * time.Millisecond }
	if p.ClockOffset != nil {
		s.SetClockOffset(ms(p.ClockOffset))
	}
	if p.Ready != nil {
		s.SetReady(ms(p.Ready))
	}
	if p.StreamDelay != nil {
		s.StreamDelay(ms(p.StreamDelay))
	}
	if p.StreamTokens != nil {
		s.StreamTokens(int(*p.StreamTokens))
	}
	st := &s.store.streams
	if p.StreamRecords != nil || p.StreamBytes != nil {
		records, bytes := st.pageRecords.Load(), st.pageBytes.Load()
		if p.StreamRecords != nil {
			records = *p.StreamRecords
		}
		if p.StreamBytes != nil {
			bytes = *p.StreamBytes
		}
		s.StreamPage(int(records), int(bytes))
	}
	if p.PolicyDelay != nil {
		rules := s.PolicyRules()
		rules.Delay = ms(p.PolicyDelay)
		if err := s.SetPolicyRules(rules); err != nil {
			return nil, err
		}
	}
	return s.Status(), nil
}

// shownKey is a key without what must not be shown.
type shownKey struct {
	ID        string    `json:"id"`
	Instances []string  `json:"instances,omitempty"`
	Disabled  bool      `json:"disabled,omitempty"`
	Temporary bool      `json:"temporary,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
}

func (s *Server) manageKeys(*http.Request) (any, error) {
	out := []shownKey{}
	for _, k := range s.Keys() {
		out = append(out, shownKey{ID: k.ID, Instances: k.Instances, Disabled: k.Disabled, Temporary: k.Token != "", Expires: k.Expires})
	}
	return out, nil
}

func (s *Server) manageRequests(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := Filter{Operation: q.Get("operation"), Instance: q.Get("instance"), Table: q.Get("table"), KeyID: q.Get("key"), Code: q.Get("code")}
	if text := q.Get("last"); text != "" {
		var err error
		if f.Last, err = strconv.Atoi(text); err != nil || f.Last < 1 {
			return nil, fmt.Errorf("last %s: a number above 0", clip(text))
		}
	}
	return s.Requests(f), nil
}

// Table is a table as people see it.
type Table struct {
	Instance   string   `json:"instance"`
	Name       string   `json:"name"`
	Keys       []string `json:"keys"` // "name TYPE"
	TTL        int32    `json:"ttl_s"`
	Versions   int32    `json:"max_versions"`
	Partitions int      `json:"partitions"`
	Stream     string   `json:"stream,omitempty"` // its ID
	Created    int64    `json:"created_us"`
}

// Tables are the tables of an instance, or of all.
func (s *Server) Tables(instance string) []Table {
	out := []Table{}
	for _, i := range s.Instances() {
		if instance != "" && instance != i.Name {
			continue
		}
		in := s.instance(i.Name)
		in.mu.RLock()
		tables := make([]*table, 0, len(in.tables))
		for _, t := range in.tables {
			tables = append(tables, t)
		}
		in.mu.RUnlock()
		slices.SortFunc(tables, func(a, b *table) int { return strings.Compare(a.Name, b.Name) })
		for _, t := range tables {
			out = append(out, t.shown())
		}
	}
	return out
}

func (t *table) shown() Table {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Table{
		Instance: t.in.name, Name: t.Name, TTL: t.Options.TTL, Versions: t.Options.MaxVersions, Partitions: len(t.Parts), Created: t.Created,
	}
	for _, k := range t.Keys {
		kind := k.Type.String()
		if k.Auto {
			kind += " AUTO_INCREMENT"
		}
		out.Keys = append(out.Keys, k.Name+" "+kind)
	}
	if t.Stream != nil {
		out.Stream = t.Stream.ID
	}
	return out
}

func (s *Server) manageTables(r *http.Request) (any, error) {
	return s.Tables(r.URL.Query().Get("instance")), nil
}
