// Package contract is the suite that every provider of names passes: those of
// dnsctl and the embedded authority alike. A provider shows what it is worth
// in a [World] of its own, a real server or a counterpart on loopback, and each
// clause of the suite gets a fresh one.
//
// It is a package and no test file, because two rooms hold providers which may
// not import one another: those of dnsctl are tested beside their code, in the
// package dnsctl_test; the embedded authority answers for what the ledger
// committed, and only cmd/pointsman may join the two. Nothing but tests imports
// it.
//
// What a provider says of itself is part of the suite: one that promises
// compare-and-swap is held to it by twenty writers at once, one that does not
// must say so and how long a late request may still take effect. What a world
// cannot show is no silence either: it is named with its reason, and the suite
// fails when neither is there.
package contract

import (
	"fmt"
	"net/netip"
	"testing"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// World is one provider with everything around it that the clauses need.
// Everything but Without, Recursive and Secrets must be there, unless Without
// names why not.
type World struct {
	// Name is what the clauses move. In a new world it shows A for TTL seconds
	// and bears Mark, which may be empty and is older than any with term 1 and an
	// epoch. It may be moved to A and B, with TTL and TTL+1 seconds.
	Name failover.RecordName
	A, B failover.Target
	TTL  uint32
	Mark string
	// Alike are names whose text holds the text of Name, or that of one of its
	// parts. In a new world each shows A, and no clause changes one: whoever
	// looks names up by a part of them is found out.
	Alike []failover.RecordName
	// Missing ends in Name, lies in the same zone, and nothing stands at it.
	Missing failover.RecordName

	// Provider builds one. Each call is another process: nothing is shared.
	Provider func(t testing.TB, k Kind) dnsctl.Provider
	// Set puts a record there as a person would by hand, whatever stands
	// there; See looks there as such a person does. Neither goes through a
	// provider of ours.
	Set func(t testing.TB, s Record)
	See func(t testing.TB, name failover.RecordName) Record

	// DNS is where clients are answered, over UDP. Recursive says that it is a
	// resolver, to be asked with RD.
	DNS       netip.AddrPort
	Recursive bool

	// Disturb arms one fault for the next request that would change something,
	// of providers built before and after. The channel is closed when the
	// write point has carried the request out and its reply was withheld.
	Disturb func(t testing.TB, f Fault) <-chan struct{}
	// Requests counts what reached the write point: all there were, be it an
	// empty connection, and those that would change something.
	Requests func() (all, writes int64)

	// Secrets are texts that nothing of a provider may ever show.
	Secrets []string

	// Without says why the world lacks something: for the name of a field or
	// of a Kind, the reason.
	Without map[string]string
}

// Record is what a world shows from outside.
type Record struct {
	Value failover.Target // canonical, empty when there is no CNAME
	TTL   uint32
	Mark  string
}

// Kind is the kind of provider that a clause wants.
type Kind string

// The kinds.
const (
	Able        Kind = "Able"        // may move Name
	ReadOnly    Kind = "ReadOnly"    // holds no credential that could write
	Denied      Kind = "Denied"      // has a credential that the place does not accept; it is one of Secrets
	Unreachable Kind = "Unreachable" // the place does not answer at all
)

// Fault is what befalls a request that was carried out.
type Fault string

// The faults.
const (
	Cut  Fault = "Cut"  // its connection ends without a reply
	Hang Fault = "Hang" // no reply comes, and the connection stays
)

// Run holds a provider to every clause. fresh builds a world; each clause gets
// its own. A clause that does not apply to a world, and whose reason the world
// states, ends with that reason in the log of go test -v.
func Run(t *testing.T, fresh func(t *testing.T) World) {
	for _, c := range clauses {
		t.Run(c.name, func(t *testing.T) {
			w := fresh(t)
			if why, err := w.without(c.needs); err != nil {
				t.Fatal(err)
			} else if why != "" {
				t.Log("does not apply: " + why)
				return
			}
			c.check(t, w)
		})
	}
}

// without returns why the world lacks one of these parts, if it does. It must
// have said so, and nothing that is not so.
func (w World) without(needs []string) (why string, err error) {
	lacks := map[string]bool{
		"DNS": !w.DNS.IsValid(), "Set": w.Set == nil, "Disturb": w.Disturb == nil, "Requests": w.Requests == nil,
		"Alike": len(w.Alike) == 0, "Missing": w.Missing == "", "Secrets": len(w.Secrets) == 0,
	}
	for _, k := range []Kind{ReadOnly, Denied, Unreachable} {
		_, lacks[string(k)] = w.Without[string(k)]
	}
	for part, why := range w.Without {
		switch lacking, known := lacks[part]; {
		case !known:
			return "", fmt.Errorf("the world is without %s, which no clause needs", part)
		case !lacking:
			return "", fmt.Errorf("the world says that it is without %s, and has it", part)
		case why == "":
			return "", fmt.Errorf("the world is without %s and does not say why", part)
		}
	}
	for _, part := range needs {
		if why, named := w.Without[part]; named {
			return why, nil
		}
		if lacks[part] {
			return "", fmt.Errorf("the world has no %s: give it one, or say why in Without", part)
		}
	}
	return "", nil
}
