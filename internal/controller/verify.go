package controller

import (
	"context"
	"fmt"

	"pointsman/internal/failover"
)

// How many verifications are under way at once. Authorities bound what one
// client may do at a time, so ten thousand names that are looked at together
// would find each other refused; and names that are moving do not wait behind
// those that are only looked at again.
const (
	mostProofs = 12 // of instances with an operation in hand
	mostLooks  = 4  // of all others
)

// inspection hands out places to verify.
type inspection struct{ proofs, looks chan struct{} }

func newInspection() inspection {
	return inspection{make(chan struct{}, mostProofs), make(chan struct{}, mostLooks)}
}

func (o *owner) verifyErrand(a failover.Verify) errand {
	places := o.c.inspection.looks
	if rec, _ := o.state().Record(); rec.Op != nil {
		places = o.c.inspection.proofs
	}
	unasked := func(err string) failover.Event {
		got := make(map[failover.RecordName]failover.NameAgreement)
		for _, n := range a.Names {
			got[n.Name] = failover.NameAgreement{Wanted: n.Value, Dissent: []string{err}, AskedAt: o.c.now()}
		}
		return failover.Verified{Names: got}
	}
	return simple(errand{
		name: errandVerify, limit: o.c.cfg.Limits.Verify,
		call: func(ctx context.Context) answer {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-ctx.Done():
				return answer{event: unasked(fmt.Sprintf("not asked: so many other names are asked about, %d at a time", cap(places)))}
			}
			return answer{event: failover.Verified{Names: o.c.outside.Load().verifier.Verify(ctx, a.Names)}}
		},
	}, unasked)
}
