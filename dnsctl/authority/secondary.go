package authority

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// SecondaryStats is what is known of one secondary. Times are of our own
// clock; zero is never.
type SecondaryStats struct {
	Zone    string
	Address netip.AddrPort
	Notify  bool   // it is told of changes
	Clients bool   // clients ask it
	Serial  uint32 // ours; 0 while the zone is not whole

	Sent    uint32 // serial of the last NOTIFY
	SentAt  time.Time
	Acked   uint32 // the last serial that it acknowledged
	AckedAt time.Time

	Serves   uint32 // the serial that it answered with last
	ServesAt time.Time
	Behind   time.Duration // since when it should have served ours; 0 while it does

	OwnErr      string    // why our zone is not whole; empty while it is
	NotifyErr   string    // why the last NOTIFY was not acknowledged; empty when it was
	SilentSince time.Time // when the first NOTIFY was sent of those that it has not acknowledged since
	LookErr     string    // why the last question for its serial was in vain
}

// Well says that nothing is wrong with a secondary, and that it was not behind
// for longer than patience.
func (s *SecondaryStats) Well(patience time.Duration) bool {
	return s.Behind <= patience && s.OwnErr == "" && s.LookErr == "" && !s.ahead() && (s.NotifyErr == "" || !s.Notify)
}

// ahead says that it serves what we never told it (RFC 1982).
func (s *SecondaryStats) ahead() bool {
	return !s.ServesAt.IsZero() && s.Serial != 0 && int32(s.Serves-s.Serial) > 0
}

// Verdict is the state of a secondary in words.
func (s *SecondaryStats) Verdict() string {
	if s.OwnErr != "" {
		return "is told nothing, since our zone is not whole: " + s.OwnErr
	}
	heard, serves := s.notified(), s.served()
	switch {
	case heard == "":
		return serves
	case s.NotifyErr != "":
		return heard + "; " + serves
	case s.LookErr == "" && s.Serves == s.Serial && !s.ServesAt.IsZero():
		return heard + " and " + serves
	default:
		return heard + ", " + serves
	}
}

// notified is what became of NOTIFY; empty where there is nothing to say.
func (s *SecondaryStats) notified() string {
	switch {
	case !s.Notify:
		return ""
	case s.NotifyErr != "":
		return fmt.Sprintf("does not acknowledge NOTIFY since %s: %s", s.SilentSince.UTC().Format(time.RFC3339), s.NotifyErr)
	case s.AckedAt.IsZero():
		return "was not told yet"
	default:
		return fmt.Sprintf("acknowledged %d", s.Acked)
	}
}

func (s *SecondaryStats) served() string {
	switch {
	case s.LookErr != "" && s.ServesAt.IsZero():
		return "was never heard: " + s.LookErr
	case s.LookErr != "":
		return fmt.Sprintf("served %d when it was heard last: %s", s.Serves, s.LookErr)
	case s.ServesAt.IsZero():
		return "was not heard yet"
	case s.ahead():
		return fmt.Sprintf("serves %d, which is later than ours: was the ledger restored from a backup? Make it fetch the zone anew", s.Serves)
	case s.Serves != s.Serial:
		return fmt.Sprintf("serves an older serial %d", s.Serves)
	case s.Notify && s.NotifyErr == "" && s.Acked == s.Serves:
		return "serves it"
	default:
		return fmt.Sprintf("serves %d", s.Serves)
	}
}

// Secondaries returns what is known of every secondary, by zone and address.
func (s *Server) Secondaries() []SecondaryStats { return s.couriers.stats() }

// SecondariesOf returns what is known of the secondaries of the zone that a
// managed name is in, by address.
func (s *Server) SecondariesOf(name failover.RecordName) []SecondaryStats {
	n := s.view.Load().tree.managed(name)
	if n == nil {
		return nil
	}
	return s.couriers.of(n.zone.name)
}

// Lacks says whether a server that serves an older serial of a zone shows
// something else of a name than we do. known is false where the journal does
// not reach back that far.
func (s *Server) Lacks(zone string, serial uint32, name failover.RecordName) (lacks, known bool) {
	s.publishing.Lock()
	src := s.source
	s.publishing.Unlock()
	if src == nil {
		return false, false
	}
	changes, err := src.Changes(context.Background(), failover.RecordName(zone), serial)
	if err != nil {
		return false, false
	}
	var was, is *Showing
	for i := range changes {
		if c := &changes[i]; strings.EqualFold(string(c.Name), string(name)) {
			if was == nil {
				was = &c.Was
			}
			is = &c.Is
		}
	}
	return was != nil && *was != *is, true
}
