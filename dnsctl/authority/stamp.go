package authority

import (
	"context"
	"fmt"

	"pointsman/internal/failover"
)

// stampAll makes the serial of every zone stand for what the zone is now. A
// zone whose serial could not be raised is answered all the same, and handed
// to nobody.
//
// The source is asked without the publishing lock: it waits for the commit in
// hand, which waits for Publish.
func (s *Server) stampAll(ctx context.Context, src Source) []error {
	type stamp struct {
		z           *zone
		fingerprint string
	}
	var stamps []stamp
	s.publishing.Lock()
	t := s.view.Load().tree
	for _, z := range t.zones {
		stamps = append(stamps, stamp{z, t.fingerprint(z)})
	}
	s.publishing.Unlock()
	var errs []error
	for _, st := range stamps {
		n, err := src.Stamp(ctx, failover.RecordName(st.z.name), st.fingerprint)
		if err != nil {
			errs = append(errs, fmt.Errorf("serial of %s: secondaries get no transfer: %w", st.z.name, err))
		}
		s.publishing.Lock()
		st.z.serial.raise(max(n, 1)) // an older one was read before a commit came
		st.z.stamped = err == nil
		s.published++
		s.publishing.Unlock()
	}
	return errs
}
