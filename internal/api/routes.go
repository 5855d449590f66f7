package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"pointsman/internal/failover"
)

const (
	reportPath = "/v1/report"
	// askTimeout bounds the wait for the owner of an instance.
	askTimeout = 10 * time.Second
)

func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /v1/instances", s.listInstances)
	m.HandleFunc("GET /v1/summary", s.getSummary)
	m.HandleFunc("GET /v1/instances/{instance}", s.known(s.getInstance))
	if s.cfg.Names != nil {
		m.HandleFunc("GET /v1/instances/{instance}/names", s.known(s.getNames))
	}
	m.HandleFunc("GET /v1/instances/{instance}/explain", s.known(s.getExplain))
	m.HandleFunc("POST /v1/instances/{instance}/plan", s.known(s.postPlan))
	m.HandleFunc("POST /v1/instances/{instance}/commands", s.known(s.postCommand))
	m.HandleFunc("POST /v1/instances/{instance}/apply", s.known(s.postApply))
	m.HandleFunc("POST /v1/instances/{instance}/hooks/test", s.known(s.postHookTest))
	m.HandleFunc("GET /v1/instances/{instance}/replication", s.replicated(s.getReplication))
	m.HandleFunc("GET /v1/instances/{instance}/replication/lost", s.replicated(s.getLostRows))
	m.HandleFunc("GET /v1/instances/{instance}/replication/dead-letters", s.replicated(s.getDeadLetters))
	m.HandleFunc("POST /v1/instances/{instance}/replication/orders", s.replicated(s.postReplicationOrder))
	m.HandleFunc("GET /v1/history", s.getHistory)
	m.HandleFunc("GET /v1/audit", s.getAudit)
	m.HandleFunc("GET /v1/audit/verify", s.getAuditVerify)
	m.HandleFunc("GET /v1/probes", s.getProbes)
	m.HandleFunc("GET /v1/version", s.getVersion)
	m.HandleFunc("GET /v1/watch", s.getWatch)
	m.HandleFunc("GET /v1/secondaries", s.getSecondaries)
	if s.cfg.Reloads != nil {
		m.HandleFunc("GET /v1/config", s.getConfig)
		m.HandleFunc("POST /v1/reload", s.postReload)
	}
	if s.cfg.Notices != nil {
		m.HandleFunc("GET /v1/notify", s.getNotify)
		m.HandleFunc("POST /v1/notify/test", s.postNotifyTest)
	}
	if s.cfg.HealthReports != nil {
		m.HandleFunc("GET /v1/reports", s.getReports)
		m.HandleFunc("GET /v1/reports/text", s.getReportText)
		m.HandleFunc("POST /v1/reports/run", s.postReportRun)
	}
	if s.cfg.Report != nil {
		m.Handle("POST "+reportPath, knowReporters(s.cfg.Report))
	}
	m.HandleFunc("GET /livez", s.getLive)
	m.HandleFunc("GET /readyz", s.getReady)
	m.HandleFunc("GET /healthz", s.getReady)
	m.HandleFunc("GET /leader", s.getLeader)
	if s.cfg.Metrics != nil {
		m.Handle("GET /metrics", s.cfg.Metrics)
	}
	return m
}

type instanceHandler func(http.ResponseWriter, *http.Request, failover.View)

// known looks the instance up, so that no handler is ever asked about one
// that does not exist.
func (s *Server) known(h instanceHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, ok := s.lookUp(w, failover.InstanceName(r.PathValue("instance")))
		if ok {
			h(w, r, v)
		}
	}
}

func (s *Server) lookUp(w http.ResponseWriter, name failover.InstanceName) (failover.View, bool) {
	v, ok := s.cfg.Instances.View(name)
	if !ok {
		p := Problem{Status: http.StatusNotFound, Message: fmt.Sprintf("there is no instance %.80q", string(name))}
		p.Known, p.More = near(string(name), s.cfg.Instances.Names())
		writeProblem(w, p)
	}
	return v, ok
}

func (s *Server) getInstance(w http.ResponseWriter, _ *http.Request, v failover.View) {
	writeJSON(w, http.StatusOK, v)
}

func (s *Server) getExplain(w http.ResponseWriter, r *http.Request, v failover.View) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	e, err := s.cfg.Decisions.Explain(ctx, v.Instance)
	if err != nil {
		writeProblem(w, cannotAsk(err))
		return
	}
	writeJSON(w, http.StatusOK, e)
}

func (s *Server) postPlan(w http.ResponseWriter, r *http.Request, v failover.View) {
	c, ok := readCommand(w, r)
	if !ok {
		return
	}
	if c.Do != failover.DoFailover && c.Do != failover.DoSwitchover {
		writeProblem(w, Problem{Status: http.StatusBadRequest, Message: "only failover and switchover can be planned"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	p, err := s.cfg.Decisions.Plan(ctx, v.Instance, c)
	if err != nil {
		writeProblem(w, cannotAsk(err))
		return
	}
	writeJSON(w, http.StatusOK, p)
}

func readCommand(w http.ResponseWriter, r *http.Request) (failover.Command, bool) {
	var req CommandRequest
	status, err := readBody(w, r, &req)
	if err != nil {
		writeProblem(w, Problem{Status: status, Message: err.Error()})
		return failover.Command{}, false
	}
	c, err := req.Command()
	if err != nil {
		writeProblem(w, Problem{Status: http.StatusBadRequest, Message: err.Error()})
		return failover.Command{}, false
	}
	c.By, c.Who = signed(r, c.By), callerOf(r).who
	return c, true
}

func (s *Server) postCommand(w http.ResponseWriter, r *http.Request, v failover.View) {
	c, ok := readCommand(w, r)
	if ok && !callerOf(r).mayOrder(c.Do) {
		writeProblem(w, notForRole(callerOf(r)))
	} else if ok {
		s.do(w, r, v.Instance, c)
	}
}

func (s *Server) postApply(w http.ResponseWriter, r *http.Request, v failover.View) {
	var req ApplyRequest
	if status, err := readBody(w, r, &req); err != nil {
		writeProblem(w, Problem{Status: status, Message: err.Error()})
		return
	}
	c, err := req.command()
	if err == nil && req.Plan.Instance != v.Instance {
		err = fmt.Errorf("plan: it is for instance %s", req.Plan.Instance)
	}
	if err != nil {
		writeProblem(w, Problem{Status: http.StatusBadRequest, Message: err.Error()})
		return
	}
	c.By, c.Who = signed(r, c.By), callerOf(r).who
	s.do(w, r, v.Instance, c)
}

func (s *Server) do(w http.ResponseWriter, r *http.Request, name failover.InstanceName, c failover.Command) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	rep, err := s.cfg.Decisions.Do(ctx, name, c)
	if err != nil {
		p := cannotAsk(err)
		p.Hint = "it is not known whether the command was taken: look at status and audit before giving it again"
		writeProblem(w, p)
		return
	}
	writeJSON(w, replyStatus(rep.Code), replyOf(rep))
}

func replyStatus(c failover.ReplyCode) int {
	switch c {
	case failover.ReplyDone, failover.ReplyStarted, failover.ReplyNothing:
		return http.StatusOK
	case failover.ReplyProposed:
		return http.StatusAccepted
	case failover.ReplyRefused:
		return http.StatusConflict
	case failover.ReplyStale:
		return http.StatusPreconditionFailed
	case failover.ReplyNotLeading:
		return http.StatusMisdirectedRequest
	case failover.ReplyBad:
		return http.StatusUnprocessableEntity
	default:
		return http.StatusInternalServerError
	}
}

func cannotAsk(err error) Problem {
	return Problem{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("ask the owner of the instance: %v", err)}
}

// query reads instance, since (RFC 3339), limit and below of a listing.
func (s *Server) query(w http.ResponseWriter, r *http.Request) (Query, bool) {
	q := Query{Instance: failover.InstanceName(r.URL.Query().Get("instance")), Limit: DefaultPage}
	if q.Instance != "" {
		if _, ok := s.lookUp(w, q.Instance); !ok {
			return q, false
		}
	}
	if t := r.URL.Query().Get("since"); t != "" {
		var err error
		if q.Since, err = time.Parse(time.RFC3339Nano, t); err != nil {
			writeProblem(w, Problem{Status: http.StatusBadRequest, Message: fmt.Sprintf("since: %.40q is no RFC 3339 time", t)})
			return q, false
		}
	}
	if l := r.URL.Query().Get("limit"); l != "" {
		n, err := strconv.Atoi(l)
		if err != nil || n < 1 || n > MaxPage {
			writeProblem(w, Problem{Status: http.StatusBadRequest, Message: fmt.Sprintf("limit: %.40q is outside 1 to %d", l, MaxPage)})
			return q, false
		}
		q.Limit = n
	}
	if b := r.URL.Query().Get("below"); b != "" {
		n, err := strconv.ParseInt(b, 10, 64)
		if err != nil || n < 1 {
			writeProblem(w, Problem{Status: http.StatusBadRequest, Message: fmt.Sprintf("below: %.40q is no place of a line", b)})
			return q, false
		}
		q.Below = n
	}
	if q.Kind = r.URL.Query().Get("kind"); len(q.Kind) > maxKind {
		writeProblem(w, Problem{Status: http.StatusBadRequest, Message: fmt.Sprintf("kind: %.40q is no kind of sample", q.Kind)})
		return q, false
	}
	return q, true
}

// maxKind is the length of the longest kind of sample that one may ask for.
const maxKind = 64

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, s.cfg.History.History)
}

func (s *Server) getAudit(w http.ResponseWriter, r *http.Request) { list(s, w, r, s.cfg.Audit.Audit) }

func (s *Server) getProbes(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, s.cfg.Probes.Probes)
}

// list answers one page. Where it is full, the header Pointsman-Next says what
// below must be for the page before it.
func list[T interface{ Place() int64 }](s *Server, w http.ResponseWriter, r *http.Request, read func(context.Context, Query) ([]T, error)) {
	q, ok := s.query(w, r)
	if !ok {
		return
	}
	lines, err := read(r.Context(), q)
	if err != nil {
		writeProblem(w, Problem{Status: http.StatusInternalServerError, Message: fmt.Sprintf("read lines: %v", err)})
		return
	}
	if lines == nil {
		lines = []T{}
	}
	if len(lines) >= q.Limit {
		lines = lines[len(lines)-q.Limit:] // whatever the reader gave
		w.Header().Set(nextHeader, strconv.FormatInt(lines[0].Place(), 10))
	}
	writeJSON(w, http.StatusOK, lines)
}

func (s *Server) getAuditVerify(w http.ResponseWriter, r *http.Request) {
	c := Condition{Name: "audit-chain", OK: true}
	if err := s.cfg.Audit.VerifyChain(r.Context()); err != nil {
		c.OK, c.Why = false, err.Error()
	}
	writeJSON(w, http.StatusOK, c)
}

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.cfg.Version)
}
