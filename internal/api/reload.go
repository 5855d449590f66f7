package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Reloads takes the file of the configuration anew. Safe for concurrent use.
type Reloads interface {
	// Config says what runs. It never waits.
	Config() ConfigState
	// Reload tries the file once and returns when it runs or is refused. The
	// error means that nobody could be asked, never a refusal.
	Reload(context.Context, ReloadRequest) (ReloadReply, error)
}

// ConfigState says which configuration runs and what became of the last try.
type ConfigState struct {
	File     string         `json:"file"`
	Hash     string         `json:"hash"` // SHA-256 of the text that runs
	LoadedAt time.Time      `json:"loaded_at"`
	OK       bool           `json:"ok"`                // the last try took the file, or found it unchanged
	Refused  *ConfigRefusal `json:"refused,omitempty"` // why not

	Vantages []VantageRefusal `json:"vantages,omitempty"` // elsewhere, whose newest file is refused
	Clocks   []VantageClock   `json:"vantage_clocks,omitempty"`
}

// VantageClock is how far the wall clock of a vantage elsewhere is from the
// controller's. It is for people; nothing is decided by it.
type VantageClock struct {
	Vantage  failover.VantageName `json:"vantage"`
	At       time.Time            `json:"at,omitzero"`         // of the message that it was read from
	OffsetNS int64                `json:"offset_ns,omitempty"` // above 0: the vantage's is ahead
	WithinNS int64                `json:"within_ns,omitempty"` // the truth is at most so far from it
	Off      bool                 `json:"off,omitempty"`       // beyond what reports warn of
	Unknown  string               `json:"unknown,omitempty"`   // why it is not known; then all else is missing
}

// VantageRefusal is a vantage elsewhere that says that the newest file of its
// configuration is refused; its older one goes on. Times are of the
// controller's clock.
type VantageRefusal struct {
	Vantage failover.VantageName `json:"vantage"`
	Since   time.Time            `json:"since"`
	Heard   time.Time            `json:"heard"` // when it said so last
	Reason  string               `json:"reason,omitempty"`
}

// ConfigRefusal is a file that was not taken; the old configuration goes on.
type ConfigRefusal struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`             // who or what asked
	Hash   string    `json:"hash,omitempty"` // of the refused text, where it could be read
	Reason string    `json:"reason"`
	Hint   string    `json:"hint,omitempty"`
}

// ReloadRequest is the body of POST /v1/reload.
type ReloadRequest struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"` // only say what would change
	// AcceptRemovals is the beginning, at least 12 characters, of the hash of
	// the file whose removals are meant.
	AcceptRemovals string `json:"accept_removals,omitempty"`
}

// MinHash is the least length of ReloadRequest.AcceptRemovals.
const MinHash = 12

// ReloadResult is what became of a reload.
type ReloadResult string

const (
	ReloadOK        ReloadResult = "ok"        // the file runs, or with DryRun: it would
	ReloadUnchanged ReloadResult = "unchanged" // what the file says runs already
	ReloadRefused   ReloadResult = "refused"   // the old configuration goes on
)

// ReloadReply is what became of one try.
type ReloadReply struct {
	Result  ReloadResult   `json:"result"`
	DryRun  bool           `json:"dry_run,omitempty"`
	Hash    string         `json:"hash,omitempty"` // SHA-256 of the file, where it could be read
	Reason  string         `json:"reason,omitempty"`
	Hint    string         `json:"hint,omitempty"`
	Removes []string       `json:"removes,omitempty"` // removals that must be accepted
	Changes []ConfigChange `json:"changes,omitempty"` // at most MaxChanges
	More    int            `json:"more,omitempty"`    // changes that are not listed
	State   ConfigState    `json:"state"`             // after the try
}

// MaxChanges bounds the changes in one reply.
const MaxChanges = 1000

// ConfigChange is one setting in which the file differs from what runs.
type ConfigChange struct {
	Path     string                `json:"path"`
	Instance failover.InstanceName `json:"instance,omitempty"`
	Old      string                `json:"old,omitempty"`
	New      string                `json:"new,omitempty"`
	Text     string                `json:"text"` // all of it on one line
}

// reloadTimeout bounds one reload. Reading ten thousand instances takes three
// seconds of a processor, of which a busy controller leaves little, and one
// that a changed file has started may have to end first.
const reloadTimeout = 3 * time.Minute

func (r *ReloadRequest) check() error {
	if err := checkText("by", r.By, maxWord); err != nil {
		return err
	}
	if strings.TrimSpace(r.By) == "" {
		return errors.New("by: say who asks")
	}
	if err := checkText("reason", r.Reason, maxText); err != nil {
		return err
	}
	h := r.AcceptRemovals
	if h != "" && (len(h) < MinHash || len(h) > 64 || strings.Trim(h, "0123456789abcdef") != "") {
		return fmt.Errorf("accept_removals: %.80q is not the beginning of a SHA-256 in hex, at least %d characters", h, MinHash)
	}
	return nil
}

func (s *Server) getConfig(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.cfg.Reloads.Config())
}

// postReload answers 200 for every reply, a refusal too: the request was
// carried out.
func (s *Server) postReload(w http.ResponseWriter, r *http.Request) {
	var req ReloadRequest
	status, err := readBody(w, r, &req)
	if err == nil {
		status, err = http.StatusBadRequest, req.check()
	}
	if err != nil {
		writeProblem(w, Problem{Status: status, Message: err.Error()})
		return
	}
	req.By = signed(r, req.By)
	ctx, cancel := context.WithTimeout(r.Context(), reloadTimeout)
	defer cancel()
	// Longer than other answers may take. Where that cannot be set, the caller
	// loses its connection and the reload goes on.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reloadTimeout + stopTimeout))
	rep, err := s.cfg.Reloads.Reload(ctx, req)
	if err != nil {
		writeProblem(w, Problem{
			Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("ask for a reload: %v", err),
			Hint: "it is not known whether it was done: look at 'pointsman config running'",
		})
		return
	}
	writeJSON(w, http.StatusOK, rep)
}

// Config says which configuration runs.
func (c *Client) Config(ctx context.Context) (ConfigState, error) {
	var st ConfigState
	return st, c.get(ctx, "/v1/config", &st)
}

// Reload makes the controller try its file. A refusal is a reply, not an error.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (ReloadReply, error) {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout+5*time.Second)
	defer cancel()
	var rep ReloadReply
	return rep, c.callLong(ctx, http.MethodPost, "/v1/reload", r, &rep)
}
