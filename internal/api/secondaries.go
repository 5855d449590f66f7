package api

import (
	"context"
	"net/http"
	"time"
)

// Secondary is a DNS server of somebody else with a copy of one of our zones,
// as the authority sees it. Times are of the controller's clock; zero is never.
type Secondary struct {
	Zone    string    `json:"zone"`
	Address string    `json:"address"`
	At      time.Time `json:"at"`               // when it was looked at for this answer
	OK      bool      `json:"ok"`               // nobody needs to look
	Verdict string    `json:"verdict"`          // the rest of this in words
	Clients bool      `json:"asked_by_clients"` // a move is confirmed when it shows it
	Notify  bool      `json:"notify"`           // it is told of changes

	Serial         uint32    `json:"serial"` // ours; 0 while our zone is not whole
	Sent           uint32    `json:"sent,omitempty"`
	SentAt         time.Time `json:"sent_at,omitzero"`
	Acknowledged   uint32    `json:"acknowledged,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	Served         uint32    `json:"served,omitempty"`
	ServedAt       time.Time `json:"served_at,omitzero"`
	BehindMS       int64     `json:"behind_ms"`             // for how long it has not served ours
	SilentSince    time.Time `json:"silent_since,omitzero"` // the first NOTIFY of those that it did not acknowledge
}

// Secondaries lists the secondaries of the embedded authority, by zone and
// address. It never waits and is safe for concurrent use.
type Secondaries interface {
	Secondaries() []Secondary
}

func (s *Server) getSecondaries(w http.ResponseWriter, _ *http.Request) {
	all := []Secondary{}
	if s.cfg.Secondaries != nil {
		all = append(all, s.cfg.Secondaries.Secondaries()...)
	}
	writeJSON(w, http.StatusOK, all)
}

// Secondaries lists the secondaries of the embedded authority.
func (c *Client) Secondaries(ctx context.Context) ([]Secondary, error) {
	var all []Secondary
	return all, c.get(ctx, "/v1/secondaries", &all)
}
