package api

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Notices are the channels by which people are told. Safe for concurrent use.
type Notices interface {
	// Channels lists them, in the order of the config.
	Channels() []ChannelLine
	// TestChannels sends a message through each of the named now, or through
	// all. Unknown names come back alone, and then nothing was sent.
	TestChannels(context.Context, NotifyTest) (tested []ChannelTest, unknown []string)
}

// ChannelLine is one channel and what it has done since the start.
type ChannelLine struct {
	Channel   string            `json:"channel"`
	Type      string            `json:"type"`
	Sent      uint64            `json:"sent"`
	Failed    uint64            `json:"failed"`    // tries
	Throttled uint64            `json:"throttled"` // tries that the receiver answered with "later"
	Dropped   map[string]uint64 `json:"dropped"`   // by reason
	Waiting   int               `json:"waiting"`
	Oldest    time.Time         `json:"oldest,omitzero"` // of what waits
	LastError string            `json:"last_error,omitempty"`
}

// NotifyTest is the body of POST /v1/notify/test.
type NotifyTest struct {
	By       string   `json:"by"`
	Channels []string `json:"channels,omitempty"` // none: all
}

// ChannelTest is what became of a message that tests a channel.
type ChannelTest struct {
	Channel string        `json:"channel"`
	Type    string        `json:"type"`
	OK      bool          `json:"ok"`
	Why     string        `json:"why,omitempty"` // why not
	Took    time.Duration `json:"took_ns"`
}

const (
	// testTimeout bounds a test; it is shorter than writeTimeout.
	testTimeout = 50 * time.Second
	// maxTested is how many channels one request may name.
	maxTested = 64
)

func (s *Server) getNotify(w http.ResponseWriter, _ *http.Request) {
	lines := s.cfg.Notices.Channels()
	if lines == nil {
		lines = []ChannelLine{}
	}
	writeJSON(w, http.StatusOK, lines)
}

func (s *Server) postNotifyTest(w http.ResponseWriter, r *http.Request) {
	var q NotifyTest
	if status, err := readBody(w, r, &q); err != nil {
		writeProblem(w, Problem{Status: status, Message: err.Error()})
		return
	}
	if len(q.Channels) > maxTested {
		writeProblem(w, Problem{Status: http.StatusBadRequest, Message: fmt.Sprintf("channels: more than %d are named", maxTested)})
		return
	}
	q.By = signed(r, q.By)
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	tested, unknown := s.cfg.Notices.TestChannels(ctx, q)
	if len(unknown) > 0 {
		p := Problem{Status: http.StatusNotFound, Message: fmt.Sprintf("there is no channel %.80q", unknown[0])}
		for _, c := range s.cfg.Notices.Channels() {
			p.Known = append(p.Known, c.Channel)
		}
		if p.Known == nil {
			p.Hint = "the config has no channels: see notify in the configuration reference"
		}
		writeProblem(w, p)
		return
	}
	if tested == nil {
		tested = []ChannelTest{}
	}
	writeJSON(w, http.StatusOK, tested)
}

// Channels lists the channels by which people are told.
func (c *Client) Channels(ctx context.Context) ([]ChannelLine, error) {
	var ls []ChannelLine
	return ls, c.get(ctx, "/v1/notify", &ls)
}

// TestChannels sends a message through channels now and says what became of
// each.
func (c *Client) TestChannels(ctx context.Context, q NotifyTest) ([]ChannelTest, error) {
	ctx, cancel := context.WithTimeout(ctx, testTimeout+5*time.Second)
	defer cancel()
	var ts []ChannelTest
	return ts, c.callLong(ctx, http.MethodPost, "/v1/notify/test", q, &ts)
}
