package alicloud

import (
	"cmp"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Manage is the address of the management API, http://host:port; it wants the
// bearer token ManageToken.
//
//	GET    /zones                 zones with their records
//	POST   /zones                 a Zone
//	POST   /zones/{zone}/records  a Record, without the checks of the API
//	POST   /records/{id}          an Edit, as by somebody else
//	GET    /requests              what was asked; ?action=… for one action
//	DELETE /requests              forget it
//	GET    /faults                what still waits for calls
//	POST   /faults                {"action": …, "times": …, "fault": a Fault}
//	DELETE /faults                heal all, or /faults/{id} one
//	PUT    /settings              {"clock_offset_ms": …, "stale_ms": …, "loose": …}
//	PUT    /authorities/{n}       an Authority, from 0
//	POST   /keys                  a Key
func (s *Server) Manage() string { return "http://" + s.manageLn.Addr().String() }

// ManageToken opens the management API.
func (s *Server) ManageToken() string { return s.manageToken }

// maxManage bounds a body of the management API.
const maxManage = 1 << 20

func (s *Server) startManage() error {
	s.manageToken = cmp.Or(s.opts.ManageToken, random(16))
	var err error
	if s.manageLn, err = net.Listen("tcp", cmp.Or(s.opts.Manage, "127.0.0.1:0")); err != nil {
		return err
	}
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxManage)
			v, err := f(r)
			status := http.StatusOK
			if err != nil {
				v, status = map[string]string{"error": err.Error()}, http.StatusBadRequest
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(v) // a client that went away is no concern here
		})
	}
	done := map[string]bool{"ok": true}
	handle("GET /zones", func(*http.Request) (any, error) { return s.Zones(), nil })
	handle("POST /zones", func(r *http.Request) (any, error) {
		z, err := read[Zone](r)
		if err != nil {
			return nil, err
		}
		id, err := s.AddZone(z)
		return map[string]string{"id": id}, err
	})
	handle("POST /zones/{zone}/records", func(r *http.Request) (any, error) {
		record, err := read[Record](r)
		if err != nil {
			return nil, err
		}
		return s.AddRecord(r.PathValue("zone"), record)
	})
	handle("POST /records/{id}", func(r *http.Request) (any, error) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("record %q: not a number", clip(r.PathValue("id")))
		}
		e, err := read[Edit](r)
		if err != nil {
			return nil, err
		}
		return done, s.Change(id, e)
	})
	handle("GET /requests", func(r *http.Request) (any, error) {
		list := s.Requests(r.URL.Query()["action"]...)
		if list == nil {
			list = []Request{}
		}
		return list, nil
	})
	handle("DELETE /requests", func(*http.Request) (any, error) { s.Forget(); return done, nil })
	handle("GET /faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	handle("POST /faults", func(r *http.Request) (any, error) {
		p, err := read[struct {
			Action string `json:"action"`
			Times  int    `json:"times"`
			Fault  Fault  `json:"fault"`
		}](r)
		if err != nil {
			return nil, err
		}
		id, err := s.fail(p.Action, p.Fault, p.Times)
		return map[string]int{"id": id}, err
	})
	handle("DELETE /faults", func(*http.Request) (any, error) { s.Heal(); return done, nil })
	handle("DELETE /faults/{id}", func(r *http.Request) (any, error) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			return nil, fmt.Errorf("fault %q: not a number", clip(r.PathValue("id")))
		}
		s.Heal(id)
		return done, nil
	})
	handle("PUT /settings", func(r *http.Request) (any, error) {
		p, err := read[struct {
			ClockOffsetMS *int64 `json:"clock_offset_ms"`
			StaleMS       *int64 `json:"stale_ms"`
			Loose         *bool  `json:"loose"`
		}](r)
		if err != nil {
			return nil, err
		}
		s.set(func() {
			if p.ClockOffsetMS != nil {
				s.offset = time.Duration(*p.ClockOffsetMS) * time.Millisecond
			}
			if p.StaleMS != nil {
				s.stale = time.Duration(*p.StaleMS) * time.Millisecond
			}
			assign(&s.loose, p.Loose)
		})
		return done, nil
	})
	handle("PUT /authorities/{n}", func(r *http.Request) (any, error) {
		n, err := strconv.Atoi(r.PathValue("n"))
		if err != nil {
			return nil, fmt.Errorf("authority %q: not a number", clip(r.PathValue("n")))
		}
		a, err := read[Authority](r)
		if err != nil {
			return nil, err
		}
		return done, s.SetAuthority(n, a)
	})
	handle("POST /keys", func(r *http.Request) (any, error) {
		k, err := read[Key](r)
		if err != nil {
			return nil, err
		}
		return done, s.AddKey(k)
	})
	s.serve(s.manageLn, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !hmac.Equal([]byte(token), []byte(s.manageToken)) {
			http.Error(w, `{"error":"a bearer token is needed"}`, http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return nil
}

// read decodes a body strictly.
func read[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("body: %w", err)
	}
	if d.More() {
		return v, errors.New("body: more than one value")
	}
	return v, nil
}

// State is a zone with its records.
type State struct {
	Zone
	Records []Record `json:"records"`
}

// Zones are all zones, oldest first.
func (s *Server) Zones() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]State, 0, len(s.zones))
	for _, z := range s.zones {
		st := State{Zone: z.Zone, Records: []Record{}}
		for _, r := range z.records() {
			st.Records = append(st.Records, *r)
		}
		out = append(out, st)
	}
	return out
}
