package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"pointsman/internal/failover"
)

// NameMatrix is one name of an instance as every authority shows it, address by
// address. Times are of the controller's clock.
type NameMatrix struct {
	Name     failover.RecordName `json:"name"`
	Zone     failover.RecordName `json:"zone"`
	Provider string              `json:"provider"`
	Want     failover.Target     `json:"want"`    // by the record
	TTL      uint32              `json:"ttl"`     // seconds, by the record
	Asked    int                 `json:"asked"`   // address and transport pairs
	Agree    int                 `json:"agree"`   // of them
	Rounds   int                 `json:"rounds"`  // consecutive rounds in which all must agree for it to be published
	Vantage  string              `json:"vantage"` // from where they were asked

	Authorities []AuthoritySight `json:"authorities"`
	// Stragglers are the addresses that do not agree, with their serial and the
	// newest serial that any address has.
	Stragglers []string `json:"stragglers,omitempty"`
	// ByHand is the command by which a person makes the write that is waited for.
	ByHand string `json:"by_hand,omitempty"`
	// Delegation, Chain and Secure are looked at only on request.
	Delegation []NameFinding `json:"delegation,omitempty"`
	Chain      []NameFinding `json:"chain,omitempty"`
}

// AuthoritySight is what one address said over one transport.
type AuthoritySight struct {
	Address string          `json:"address"`
	Net     string          `json:"net"` // udp or tcp
	Agree   bool            `json:"agree"`
	Why     string          `json:"why,omitempty"`
	Value   failover.Target `json:"value,omitempty"`
	TTL     uint32          `json:"ttl"` // seconds
	AA      bool            `json:"aa"`
	Rcode   string          `json:"rcode,omitempty"`
	NSID    string          `json:"nsid,omitempty"`   // RFC 5001
	Serial  uint32          `json:"serial,omitempty"` // of the zone; a hint, no proof
	TookMS  int64           `json:"took_ms"`
	At      time.Time       `json:"at,omitzero"`
}

// NameFinding is a verdict on the way to a name, as pointsman doctor gives it.
type NameFinding struct {
	ID       string `json:"id"`
	Verdict  string `json:"verdict"` // ok, warn, fail, skip
	Evidence string `json:"evidence"`
	Fix      string `json:"fix,omitempty"`
}

// Names shows how the world answers for an instance. With look, everything is
// asked anew; without it nothing is asked.
type Names interface {
	Names(ctx context.Context, i failover.InstanceName, look bool) ([]NameMatrix, error)
}

// lookTimeout bounds a look at the whole way to the names of an instance.
const lookTimeout = 50 * time.Second

// maxLooking is how many may look at the same time: each asks every authority
// and walks the delegation, from the host that decides.
const maxLooking = 2

func (s *Server) getNames(w http.ResponseWriter, r *http.Request, v failover.View) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
	defer cancel()
	look := r.URL.Query().Get("look") == "now"
	if look {
		select {
		case s.looking <- struct{}{}:
			defer func() { <-s.looking }()
		default:
			writeProblem(w, Problem{
				Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d others are looking at names", maxLooking),
				Hint: "wait, then try again; with --last the newest round is shown and nobody is asked",
			})
			return
		}
	}
	all, err := s.cfg.Names.Names(ctx, v.Instance, look)
	if err != nil {
		writeProblem(w, cannotAsk(err))
		return
	}
	if all == nil {
		all = []NameMatrix{}
	}
	writeJSON(w, http.StatusOK, all)
}

// Names shows how the world answers for an instance; with look it is asked anew.
func (c *Client) Names(ctx context.Context, i failover.InstanceName, look bool) ([]NameMatrix, error) {
	var all []NameMatrix
	if look {
		return all, c.callLong(ctx, http.MethodGet, instancePath(i, "/names?look=now"), nil, &all)
	}
	return all, c.get(ctx, instancePath(i, "/names"), &all)
}
