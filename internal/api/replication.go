package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Replication is what this process knows of the rows on their way to the
// standbys, and takes orders about it. Safe for concurrent use.
type Replication interface {
	// ReplicationStatus never waits; false: nothing of the instance is replicated.
	ReplicationStatus(failover.InstanceName) (ReplicationStatus, bool)
	// LostRows lists what the last operation left on the old side, from the one
	// after q.After on; next is where to go on, empty at the end.
	LostRows(ctx context.Context, i failover.InstanceName, q RowQuery) (rows []LostRow, next string, err error)
	// DeadLetters likewise lists the rows that the target refused.
	DeadLetters(ctx context.Context, i failover.InstanceName, q RowQuery) (rows []DeadLetter, next string, err error)
	// OrderReplication carries an order out and notes it in the audit. An
	// [*OrderRefused] says that it was not done, and why.
	OrderReplication(ctx context.Context, i failover.InstanceName, o ReplicationOrder) (ReplicationReply, error)
}

// OrderRefused is why an order about replication was not carried out.
type OrderRefused struct{ Why, Hint string }

func (e *OrderRefused) Error() string { return e.Why }

// RowQuery narrows a listing of rows.
type RowQuery struct {
	Table string
	After string // where to go on, as the page before said
	Limit int    // 1 to MaxRows; 0 is DefaultPage
}

// MaxRows is the greatest page of rows.
const MaxRows = 1000

// ReplicationVerb is what is to be done.
type ReplicationVerb string

// Verbs of an order.
const (
	ReplicationPauseVerb ReplicationVerb = "pause"
	ReplicationResume    ReplicationVerb = "resume"
	// ReplicationResync copies tables anew, and is the consent to delete rows of
	// the standby that the active cluster does not have.
	ReplicationResync ReplicationVerb = "resync"
	// ReplicationAccept says that a refused row will never be at the standby.
	ReplicationAccept ReplicationVerb = "accept"
	// ReplicationRetry writes a refused row again.
	ReplicationRetry ReplicationVerb = "retry"
)

// ReplicationVerbs lists them.
var ReplicationVerbs = []ReplicationVerb{ReplicationPauseVerb, ReplicationResume, ReplicationResync, ReplicationAccept, ReplicationRetry}

// ReplicationOrder is the body of POST …/replication/orders.
type ReplicationOrder struct {
	Do     ReplicationVerb `json:"do"`
	By     string          `json:"by"`
	Reason string          `json:"reason,omitempty"`
	// To is, of resync, the cluster whose rows may be deleted: the order is refused
	// when another one is the standby by then. Empty is whichever is.
	To     failover.ClusterName `json:"to,omitempty"`
	Tables []string             `json:"tables,omitempty"` // resync: none is every table that waits for it
	Rows   []string             `json:"rows,omitempty"`   // accept, retry: IDs of refused rows
	Change string               `json:"change,omitempty"`
}

// ReplicationReply says what was done.
type ReplicationReply struct {
	Instance failover.InstanceName `json:"instance"`
	Do       ReplicationVerb       `json:"do"`
	Text     string                `json:"text"`
}

// maxNamed bounds the tables or rows of one order.
const maxNamed = 200

func (o *ReplicationOrder) check() error {
	for key, text := range map[string]struct {
		s    string
		most int
	}{"by": {o.By, maxWord}, "to": {string(o.To), maxWord}, "reason": {o.Reason, maxText}, "change": {o.Change, maxWord}} {
		if err := checkText(key, text.s, text.most); err != nil {
			return err
		}
	}
	rows := o.Do == ReplicationAccept || o.Do == ReplicationRetry
	switch {
	case !slices.Contains(ReplicationVerbs, o.Do):
		return fmt.Errorf("do: %.40q is none of %v", string(o.Do), ReplicationVerbs)
	case strings.TrimSpace(o.By) == "":
		return errors.New("by: say who asks")
	case o.Do != ReplicationResume && o.Do != ReplicationRetry && strings.TrimSpace(o.Reason) == "":
		return errors.New("reason: say why")
	case rows && len(o.Rows) == 0:
		return errors.New("rows: name those that are meant")
	case !rows && len(o.Rows) > 0:
		return fmt.Errorf("rows: %s is about no rows", o.Do)
	case o.Do != ReplicationResync && o.To != "":
		return fmt.Errorf("to: %s is about no cluster", o.Do)
	case o.Do != ReplicationResync && len(o.Tables) > 0:
		return fmt.Errorf("tables: %s is about all tables", o.Do)
	case len(o.Rows) > maxNamed || len(o.Tables) > maxNamed:
		return fmt.Errorf("more than %d are named", maxNamed)
	}
	for _, name := range slices.Concat(o.Rows, o.Tables) {
		if err := checkText("names", name, maxText); err != nil {
			return err
		}
		if name == "" {
			return errors.New("names: one is empty")
		}
	}
	return nil
}

// replicated looks the replication of an instance up.
func (s *Server) replicated(h instanceHandler) http.HandlerFunc {
	return s.known(func(w http.ResponseWriter, r *http.Request, v failover.View) {
		if s.cfg.Replication != nil {
			if _, ok := s.cfg.Replication.ReplicationStatus(v.Instance); ok {
				h(w, r, v)
				return
			}
		}
		writeProblem(w, Problem{Status: http.StatusConflict, Message: fmt.Sprintf("nothing of %s is replicated here", v.Instance), Hint: "the key replication of the instance says how; see docs/replication.md"})
	})
}

func (s *Server) getReplication(w http.ResponseWriter, _ *http.Request, v failover.View) {
	st, _ := s.cfg.Replication.ReplicationStatus(v.Instance)
	if st.Tables == nil {
		st.Tables = []ReplicationTable{}
	}
	writeJSON(w, http.StatusOK, st)
}

// rowTimeout bounds a page of rows, which may be read from a cluster.
const rowTimeout = askTimeout

func (s *Server) getLostRows(w http.ResponseWriter, r *http.Request, v failover.View) {
	rowPage(w, r, func(ctx context.Context, q RowQuery) ([]LostRow, string, error) {
		return s.cfg.Replication.LostRows(ctx, v.Instance, q)
	})
}

func (s *Server) getDeadLetters(w http.ResponseWriter, r *http.Request, v failover.View) {
	rowPage(w, r, func(ctx context.Context, q RowQuery) ([]DeadLetter, string, error) {
		return s.cfg.Replication.DeadLetters(ctx, v.Instance, q)
	})
}

// rowPage answers one page. Keys of rows are people's data, so whoever may only
// look at the service is not shown them.
func rowPage[T any](w http.ResponseWriter, r *http.Request, read func(context.Context, RowQuery) ([]T, string, error)) {
	if c := callerOf(r); c.role == RoleViewer {
		writeProblem(w, notForRole(c))
		return
	}
	q, err := rowQuery(r.URL.Query())
	if err != nil {
		writeProblem(w, Problem{Status: http.StatusBadRequest, Message: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), rowTimeout)
	defer cancel()
	rows, next, err := read(ctx, q)
	if err != nil {
		writeProblem(w, orderProblem(err))
		return
	}
	if rows == nil {
		rows = []T{}
	}
	if next != "" {
		w.Header().Set(nextHeader, url.QueryEscape(next)) // it may hold what a header may not
	}
	writeJSON(w, http.StatusOK, rows)
}

func rowQuery(v url.Values) (RowQuery, error) {
	q := RowQuery{Table: v.Get("table"), After: v.Get("after"), Limit: DefaultPage}
	if l := v.Get("limit"); l != "" {
		n, err := strconv.Atoi(l)
		if err != nil || n < 1 || n > MaxRows {
			return q, fmt.Errorf("limit: %.40q is outside 1 to %d", l, MaxRows)
		}
		q.Limit = n
	}
	if err := checkText("table", q.Table, maxText); err != nil {
		return q, err
	}
	return q, checkText("after", q.After, maxText)
}

// orderProblem tells what was refused from what failed.
func orderProblem(err error) Problem {
	if e, ok := errors.AsType[*OrderRefused](err); ok {
		return Problem{Status: http.StatusConflict, Message: e.Why, Hint: e.Hint}
	}
	return Problem{Status: http.StatusServiceUnavailable, Message: err.Error(), Hint: "look at 'pointsman replication status', then try again"}
}

func (s *Server) postReplicationOrder(w http.ResponseWriter, r *http.Request, v failover.View) {
	var o ReplicationOrder
	status, err := readBody(w, r, &o)
	if err == nil {
		status, err = http.StatusBadRequest, o.check()
	}
	if err != nil {
		writeProblem(w, Problem{Status: status, Message: err.Error()})
		return
	}
	o.By = signed(r, o.By)
	ctx, cancel := context.WithTimeout(r.Context(), orderTimeout)
	defer cancel()
	rep, err := s.cfg.Replication.OrderReplication(ctx, v.Instance, o)
	if err != nil {
		writeProblem(w, orderProblem(err))
		return
	}
	writeJSON(w, http.StatusOK, rep)
}

// orderTimeout bounds an order: it is kept at the target, which may be slow.
const orderTimeout = 30 * time.Second

// Replication says how the rows of an instance fare.
func (c *Client) Replication(ctx context.Context, i failover.InstanceName) (ReplicationStatus, error) {
	var st ReplicationStatus
	return st, c.get(ctx, instancePath(i, "/replication"), &st)
}

// LostRows lists one page of what the last operation left behind.
func (c *Client) LostRows(ctx context.Context, i failover.InstanceName, q RowQuery) ([]LostRow, string, error) {
	var rows []LostRow
	next, err := c.getPage(ctx, instancePath(i, "/replication/lost")+q.encode(), &rows)
	return rows, next, err
}

// DeadLetters lists one page of the rows that the target refused.
func (c *Client) DeadLetters(ctx context.Context, i failover.InstanceName, q RowQuery) ([]DeadLetter, string, error) {
	var rows []DeadLetter
	next, err := c.getPage(ctx, instancePath(i, "/replication/dead-letters")+q.encode(), &rows)
	return rows, next, err
}

// OrderReplication gives an order.
func (c *Client) OrderReplication(ctx context.Context, i failover.InstanceName, o ReplicationOrder) (ReplicationReply, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout+5*time.Second)
	defer cancel()
	var rep ReplicationReply
	return rep, c.callLong(ctx, http.MethodPost, instancePath(i, "/replication/orders"), o, &rep)
}

func (q RowQuery) encode() string {
	v := url.Values{}
	if q.Table != "" {
		v.Set("table", q.Table)
	}
	if q.After != "" {
		v.Set("after", q.After)
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// getPage is get for one page, with where the next one begins.
func (c *Client) getPage(ctx context.Context, path string, into any) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if err := c.decode(resp, into); err != nil {
		return "", err
	}
	next, err = url.QueryUnescape(resp.Header.Get(nextHeader))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", c.where, ErrNotOurs, err)
	}
	return next, nil
}
