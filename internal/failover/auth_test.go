package failover

import "testing"

// TestBlindIsWhatMostOfADomainSay: one of two vantages with a bad key blinds no
// domain, and splitting a vantage changes nothing.
func TestBlindIsWhatMostOfADomainSay(t *testing.T) {
	p := &Policy{Vantages: []VantagePolicy{{"v1", "d1"}, {"v2", "d1"}, {"v3", "d2"}, {"v4", "d3"}}}
	votes := func(faults ...Fault) *tally {
		tl := &tally{}
		for i, f := range faults {
			tl.votes = append(tl.votes, vantageVote{vantage: p.Vantages[i].Name, domain: p.Vantages[i].Domain, fault: f, reason: string(f)})
		}
		return tl
	}
	for _, tc := range []struct {
		votes   *tally
		class   Fault
		domains int
	}{
		{votes("", "", "", ""), FaultNone, 0},
		{votes(FaultKey, "", "", ""), FaultNone, 0},
		{votes(FaultKey, "", FaultKey, ""), FaultNone, 0}, // half of d1 is no majority
		{votes(FaultKey, FaultKey, FaultKey, ""), FaultKey, 2},
		{votes(FaultKey, FaultSetup, FaultKey, ""), FaultNone, 0},
		{votes(FaultSetup, FaultSetup, FaultSetup, FaultSetup), FaultSetup, 3},
		{votes(FaultKey, FaultKey, FaultDenied, ""), FaultNone, 0}, // of two classes
	} {
		if class, n, _ := blindDomains(p, tc.votes); class != tc.class || n != tc.domains {
			t.Errorf("%+v: %q by %d domains, want %q by %d", tc.votes.votes, class, n, tc.class, tc.domains)
		}
		if (tc.votes.blind(p) != FaultNone) != (tc.class != FaultNone) {
			t.Errorf("%+v: blind says %q", tc.votes.votes, tc.votes.blind(p))
		}
	}
	// Refusals of both classes are of keys.
	a, b := votes(FaultKey, FaultKey, FaultDenied, ""), votes(FaultDenied, FaultKey, FaultKey, FaultKey)
	if n := authDomains(p, a, b); n != 2 {
		t.Errorf("%d domains refused at both, want 2", n)
	}
	if n := authDomains(p, a, votes("", "", "", FaultKey)); n != 0 {
		t.Errorf("%d domains refused at both, from different places", n)
	}
}

// TestATapeHearsAnotherClass: that the reason became another one is news, though
// the vote is unknown as before.
func TestATapeHearsAnotherClass(t *testing.T) {
	of := func(f Fault) *sight {
		return &sight{Report: Report{Clusters: map[ClusterName]Sighting{"a": {Vote: Unknown, Fault: f}, "b": {Vote: Up}}}}
	}
	if of(FaultKey).news(of(FaultKey)) {
		t.Error("the same again is news")
	}
	if !of(FaultKey).news(of(FaultSetup)) || !of(FaultNone).news(of(FaultKey)) {
		t.Error("another class is no news")
	}
}
