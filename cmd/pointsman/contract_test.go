package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/dnsctl/contract"
	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// TestEmbeddedAuthorityKeepsTheContract holds the authority and the ledger
// behind it, joined as wire.go joins them, to what every provider promises.
func TestEmbeddedAuthorityKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World { return embeddedWorld(t) })
}

// TestRoomsProgramHoldsNoSuite: the suite is a package that only tests import.
func TestRoomsProgramHoldsNoSuite(t *testing.T) {
	for p := range strings.Lines(command(t, "go", "list", "-deps", "./cmd/pointsman")) {
		if p = strings.TrimSpace(p); p == module+"dnsctl/contract" {
			t.Errorf("the program links %s", p)
		}
	}
}

// embeddedNames are the names of the world: the one that moves, and those whose
// text holds it or is held by it.
var embeddedNames = []failover.RecordName{
	"orders.lab.test.", "b.orders.lab.test.", "myorders.lab.test.", "orders.lab.test.lab.test.", "orders.sub.lab.test.", "order.lab.test.",
}

func embeddedMark(epoch uint64) failover.Mark {
	return failover.Mark{Token: failover.Token{Term: 1, Epoch: epoch}, Op: "op-0", By: "ctl-1"}
}

func embeddedWorld(t *testing.T) contract.World {
	t.Helper()
	store, err := ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir(), Owner: "ctl-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	zone := authority.Zone{
		Name: secondZone, NS: []failover.RecordName{"ns1.lab.test."}, Names: embeddedNames,
		Targets: map[failover.RecordName][]failover.Target{},
		Hosts:   map[failover.RecordName][]netip.Addr{},
	}
	for _, n := range embeddedNames {
		zone.Targets[n] = []failover.Target{"a.lab.test.", "b.lab.test."}
	}
	for i, n := range []failover.RecordName{"ns1.lab.test.", "a.lab.test.", "b.lab.test."} {
		zone.Hosts[n] = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 1, byte(i)})}
	}
	srv, err := authority.New(authority.Config{Listen: []string{"127.0.0.1:0"}, Zones: []authority.Zone{zone}})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Load(t.Context(), source{store}); err != nil {
		t.Fatal(err)
	}
	if err := srv.Listen(); err != nil {
		t.Fatal(err)
	}
	store.OnCommit(func(r ledger.Receipt) {
		if err := srv.Publish(r.Record, r.Serials); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for i, n := range embeddedNames {
		rec := failover.Record{Instance: failover.InstanceName(fmt.Sprintf("instance-%d", i)), Term: 1, Names: []failover.NameRecord{{
			Name: n, Provider: "embedded", Zone: secondZone, Embedded: true, Value: "a.lab.test.", TTL: 30, Mark: embeddedMark(0),
		}}}
		if _, err := store.Commit(t.Context(), rec, nil); err != nil {
			t.Fatal(err)
		}
	}
	addr := srv.Addrs()[0]
	const noWire = "a move is a commit to this process's own ledger: nothing is sent to anybody, and a commit that was begun is waited for"
	return contract.World{
		Name: embeddedNames[0], A: "a.lab.test.", B: "b.lab.test.", TTL: 30, Mark: embeddedMark(0).String(),
		Alike: embeddedNames[1:], Missing: "missing.orders.lab.test.",
		Provider: func(testing.TB, contract.Kind) dnsctl.Provider {
			return committing{recorded{store, newMetrics(api.Version{}), nil}, store}
		},
		See: func(t testing.TB, n failover.RecordName) contract.Record {
			t.Helper()
			return answered(t, addr, string(n))
		},
		DNS: addr,
		Without: map[string]string{
			"Set":                        "nobody writes past the ledger: the authority takes no updates",
			"Requests":                   noWire,
			"Disturb":                    noWire,
			string(contract.Unreachable): noWire,
			string(contract.ReadOnly):    "a shadow decides and commits no move",
			string(contract.Denied):      "there is no credential",
			"Secrets":                    "there is no credential",
		},
	}
}

// answered is what clients are told of a name, and of its mark.
func answered(t testing.TB, at netip.AddrPort, name string) contract.Record {
	t.Helper()
	var out contract.Record
	for _, q := range []struct {
		name  string
		qtype uint16
	}{{name, dns.TypeCNAME}, {"_pointsman." + name, dns.TypeTXT}} {
		c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion(q.name, q.qtype), at.String())
		if err != nil || !r.Authoritative {
			t.Fatalf("%v %v", r, err)
		}
		for _, rr := range r.Answer {
			switch rr := rr.(type) {
			case *dns.CNAME:
				out.Value, out.TTL = failover.Target(rr.Target), rr.Hdr.Ttl
			case *dns.TXT:
				out.Mark = strings.Join(rr.Txt, "")
			}
		}
	}
	return out
}

// committing moves an embedded name as the controller does: by a commit of the
// record, on the condition that it is still the one that was decided upon.
type committing struct {
	ledger recorded
	store  *ledger.Store
}

func (c committing) String() string { return "embedded" }

func (c committing) Capabilities() dnsctl.Capabilities {
	return dnsctl.Capabilities{CompareAndSwap: true, Atomic: true, Mark: "ledger"}
}

func (c committing) find(ctx context.Context, name failover.RecordName) (failover.Record, int, error) {
	all, err := c.store.All(ctx)
	if err != nil {
		return failover.Record{}, 0, err
	}
	for _, rec := range all {
		for i, n := range rec.Names {
			if n.Name == failover.RecordName(strings.ToLower(string(name))) {
				return rec, i, nil
			}
		}
	}
	return failover.Record{}, -1, nil
}

func (c committing) Read(ctx context.Context, name failover.RecordName) (dnsctl.State, error) {
	rec, i, err := c.find(ctx, name)
	if err != nil || i < 0 {
		return dnsctl.State{Absent: i < 0}, err
	}
	n := rec.Names[i]
	return dnsctl.State{Value: n.Value, TTL: n.TTL, Mark: n.Mark.String()}, nil
}

func (c committing) Write(ctx context.Context, ch dnsctl.Change) (failover.WriteOutcome, error) {
	rec, i, err := c.find(ctx, ch.Name)
	if err != nil || i < 0 {
		return failover.WriteRefused, errors.Join(dnsctl.ErrForbidden, err)
	}
	n := rec.Names[i]
	if !strings.EqualFold(string(ch.Expect), string(n.Value)) || ch.ExpectMark != nil && *ch.ExpectMark != n.Mark.String() {
		return failover.WriteMismatch, dnsctl.ErrPrerequisite
	}
	if n.Mark, err = failover.ParseMark(ch.Mark); err != nil {
		return failover.WriteRefused, errors.Join(dnsctl.ErrForbidden, err)
	}
	n.Value, n.TTL = failover.Target(strings.ToLower(string(ch.Value))), ch.TTL
	names := append([]failover.NameRecord(nil), rec.Names...)
	names[i] = n
	rec.Names, rec.Term, rec.Epoch = names, n.Mark.Token.Term, n.Mark.Token.Epoch
	_, err = c.ledger.Commit(ctx, rec, nil)
	switch {
	case errors.Is(err, ledger.ErrConflict):
		return failover.WriteMismatch, errors.Join(dnsctl.ErrPrerequisite, err)
	case err != nil:
		return failover.WriteUnknown, err
	}
	return failover.WriteDone, nil
}
