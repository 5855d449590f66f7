package api

import (
	"net/http"
	"slices"
)

func (s *Server) getLive(w http.ResponseWriter, _ *http.Request) {
	c := Condition{Name: "live", OK: true}
	if err := s.cfg.Health.Live(); err != nil {
		c.OK, c.Why = false, err.Error()
	}
	writeCondition(w, c.OK, c)
}

// getReady lists the conditions in the body whether or not they are met.
func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) {
	cs := s.cfg.Health.Ready()
	ok := !slices.ContainsFunc(cs, func(c Condition) bool { return !c.OK })
	writeCondition(w, ok, cs)
}

// getLeader answers 200 only while this process leads, for whoever must find
// the leader; readiness says nothing of it.
func (s *Server) getLeader(w http.ResponseWriter, _ *http.Request) {
	c := Condition{Name: "leader"}
	for _, n := range s.cfg.Instances.Names() {
		v, ok := s.cfg.Instances.Sketch(n)
		if !ok {
			continue
		}
		if v.Leading { // one is enough, and most lead when one does
			c.OK = true
			break
		}
		c.Why = v.LeadWhy
	}
	writeCondition(w, c.OK, c)
}

func writeCondition(w http.ResponseWriter, ok bool, body any) {
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, body)
}
