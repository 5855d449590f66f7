package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// source is how the authority reads the ledger.
type source struct{ store *ledger.Store }

func (s source) Records(ctx context.Context) ([]failover.Record, error) { return s.store.All(ctx) }
func (s source) Stamp(ctx context.Context, z failover.RecordName, fingerprint string) (uint32, error) {
	return s.store.Stamp(ctx, z, fingerprint)
}

func (s source) NoteWhole(ctx context.Context, z failover.RecordName) error {
	return s.store.NoteWhole(ctx, z)
}
func (s source) WasWhole(z failover.RecordName) bool { return s.store.WasWhole(z) }

func (s source) Changes(ctx context.Context, z failover.RecordName, from uint32) ([]authority.Change, error) {
	got, err := s.store.Changes(ctx, z, from)
	if err != nil {
		return nil, err
	}
	out := make([]authority.Change, len(got))
	for i, c := range got {
		out[i] = authority.Change{
			Before: c.Before, After: c.After, Name: c.Name,
			Was: authority.Showing(c.Was), Is: authority.Showing(c.Is),
		}
	}
	return out, nil
}

// recorded is the ledger as the controller wants it: the same errors under
// the controller's own names.
type recorded struct {
	store    *ledger.Store
	metrics  *metrics
	replicas *replicas // they are told of a commit before the controller acts on it
}

func (r recorded) Load(ctx context.Context, i failover.InstanceName) (failover.Record, bool, error) {
	rec, found, err := r.store.Load(ctx, i)
	if err == nil && found {
		r.replicas.committed(&rec)
	}
	return rec, found, err
}

func (r recorded) Commit(ctx context.Context, rec failover.Record, audit []failover.AuditEntry) (controller.Receipt, error) {
	began := time.Now()
	got, err := r.store.Commit(ctx, rec, audit)
	r.metrics.commitSeconds.Observe(time.Since(began).Seconds())
	if err != nil {
		return controller.Receipt{}, ledgerError(err)
	}
	r.replicas.committed(&got.Record)
	return controller.Receipt{Record: got.Record, Serials: got.Serials}, nil
}

// ledgerError gives an error of the ledger the controller's own name for it.
func ledgerError(err error) error {
	switch {
	case errors.Is(err, ledger.ErrConflict):
		return as{controller.ErrConflict, err}
	case errors.Is(err, ledger.ErrPoisoned), errors.Is(err, ledger.ErrClosed):
		return as{controller.ErrPoisoned, err}
	default:
		return err
	}
}

// as gives an error a second identity and keeps its words.
type as struct{ sentinel, err error }

func (e as) Error() string   { return e.err.Error() }
func (e as) Unwrap() []error { return []error{e.sentinel, e.err} }

// provided is a DNS provider as the controller wants it.
type provided struct {
	provider dnsctl.Provider
	secret   string // path of its secret, for the command that people are given
}

// byHander is what a provider may be besides: it knows the exact command by
// which a person makes a change without this program. secret is the path of the
// file that holds the secret; the secret itself is never in the command.
type byHander interface {
	ByHand(c dnsctl.Change, secret string) string
}

// ByHand is the command for people, "" where the provider knows none.
func (p provided) ByHand(w failover.WriteName) string {
	by, ok := p.provider.(byHander)
	if !ok {
		return ""
	}
	return by.ByHand(changeOf(w), p.secret)
}

func changeOf(w failover.WriteName) dnsctl.Change {
	return dnsctl.Change{Name: w.Name.Name, Expect: w.Expect, ExpectMark: w.ExpectMark, Value: w.Value, TTL: w.TTL, Mark: w.Mark.String()}
}

func (p provided) Read(ctx context.Context, n failover.RecordName) (failover.NameRead, error) {
	if controller.Urgent(ctx) {
		ctx = dnsctl.Urgent(ctx)
	}
	s, err := p.provider.Read(ctx, n)
	if err != nil {
		return failover.NameRead{}, err
	}
	other := s.Other
	if other == "" {
		// Value is that of a line which a write has not reached. To the core that
		// is no proof and, where nothing is wanted, no rest: part of the clients is
		// sent elsewhere, by another controller or by a ledger that was restored.
		other = s.Apart()
	}
	return failover.NameRead{Name: n, Absent: s.Absent, Value: s.Value, TTL: s.TTL, Mark: s.Mark, Other: other, Floor: s.Floor}, nil
}

func (p provided) Write(ctx context.Context, w failover.WriteName) (failover.WriteOutcome, error) {
	return p.provider.Write(ctx, changeOf(w))
}

// authorities finds the addresses of all authorities of a zone.
type authorities interface {
	of(ctx context.Context, zone failover.RecordName) ([]netip.AddrPort, error)
}

// fixed is a list that is known beforehand.
type fixed []netip.AddrPort

func (f fixed) of(context.Context, failover.RecordName) ([]netip.AddrPort, error) { return f, nil }

// resolvers are asked in the place of authorities, where no authority shows
// what clients are told.
type resolvers []netip.AddrPort

func (r resolvers) of(context.Context, failover.RecordName) ([]netip.AddrPort, error) { return r, nil }

func authoritiesOf(listed []netip.AddrPort) authorities {
	if len(listed) > 0 {
		return fixed(listed)
	}
	return &discovered{}
}

// reachable turns addresses that mean "every interface" into loopback, where
// this machine reaches itself.
func reachable(addrs []netip.AddrPort) []netip.AddrPort {
	out := slices.Clone(addrs)
	for i, a := range out {
		switch {
		case a.Addr().IsUnspecified() && a.Addr().Is4():
			out[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
		case a.Addr().IsUnspecified():
			out[i] = netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
		}
	}
	return out
}

// verifier asks every authority of every name.
type verifier struct {
	own       authorities            // of embedded names; nil without an authority
	providers map[string]authorities // of the others
	seen      *surveys               // nil: nobody wants to know single answers
}

func (v verifier) Verify(ctx context.Context, names []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
	var ask []dnsctl.VerifyName
	unknown := make(map[failover.RecordName]failover.NameAgreement)
	for _, n := range names {
		addrs, err := v.find(ctx, n)
		if err != nil {
			unknown[n.Name] = failover.NameAgreement{Wanted: n.Value, Dissent: []string{err.Error()}, AskedAt: time.Now()}
			continue
		}
		_, recurse := v.providers[n.Provider].(resolvers)
		ask = append(ask, dnsctl.VerifyName{Name: n.Name, Zone: n.Zone, Want: n.Value, Authorities: addrs, Resolvers: recurse && !n.Embedded})
	}
	got, single := dnsctl.Survey(ctx, ask, dnsctl.VerifyConfig{Serials: v.seen.wantSerials(ask)})
	for _, n := range ask {
		a := got[n.Name]
		a.At = distinct(n.Authorities)
		got[n.Name] = a
	}
	for n, a := range unknown {
		got[n] = a
	}
	v.seen.note(single)
	return got
}

func (v verifier) find(ctx context.Context, n failover.NameRecord) ([]netip.AddrPort, error) {
	a := v.providers[n.Provider]
	if n.Embedded {
		a = v.own
	}
	if a == nil {
		return nil, fmt.Errorf("provider %q is not configured", n.Provider)
	}
	addrs, err := a.of(ctx, n.Zone)
	if err != nil {
		return nil, fmt.Errorf("find the authorities of %s: %w", n.Zone, err)
	}
	return addrs, nil
}

// pageNote is a page in the measured history.
type pageNote struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// sampleOf makes a line of the measured history.
func sampleOf(i failover.InstanceName, kind string, what any) ledger.Sample {
	data, err := json.Marshal(what)
	if err != nil {
		data, _ = json.Marshal(err.Error())
	}
	return ledger.Sample{At: time.Now(), Instance: i, Kind: kind, Data: data}
}
