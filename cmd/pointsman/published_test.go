package main

import (
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// What is said of the authorities of a name is what was seen, and when.
func TestWhatTheAuthoritiesSaidAndWhen(t *testing.T) {
	now := time.Now()
	asked := now.Add(-12 * time.Second)
	agreement := func(agreeing, of int, wanted failover.Target) *failover.NameAgreement {
		return &failover.NameAgreement{Agree: agreeing == of, Agreeing: agreeing, Asked: of, Wanted: wanted, AskedAt: asked}
	}
	has := api.Secondary{OK: true, Clients: true, Serial: 7, Served: 7, ServedAt: now}
	behind, silent, hidden, early := has, has, has, has
	behind.Served = 6
	silent.ServedAt = time.Time{}
	hidden.Clients, hidden.Served = false, 6
	early.ServedAt = asked.Add(-time.Second)
	for what, c := range map[string]struct {
		published   *failover.NameAgreement
		value       failover.Target
		secondaries []api.Secondary
		want        string
	}{
		"no record yet":                {nil, "", nil, "-"},
		"not asked":                    {nil, "a.", []api.Secondary{has}, "not asked yet"},
		"all agree":                    {agreement(10, 10, "a."), "a.", []api.Secondary{behind}, "10 of 10"},
		"asked about another value":    {agreement(10, 10, "b."), "a.", nil, "not asked since it changed"},
		"some do not agree":            {agreement(2, 10, "a."), "a.", nil, "2 of 10, 12s ago"},
		"a secondary is behind":        {agreement(2, 10, "a."), "a.", []api.Secondary{has, behind}, "2 of 10, 12s ago"},
		"a secondary never answered":   {agreement(2, 10, "a."), "a.", []api.Secondary{has, silent}, "2 of 10, 12s ago"},
		"it was seen before we asked":  {agreement(2, 10, "a."), "a.", []api.Secondary{early}, "2 of 10, 12s ago"},
		"only one that nobody asks":    {agreement(1, 2, "a."), "a.", []api.Secondary{hidden}, "1 of 2, 12s ago"},
		"all have it since":            {agreement(2, 10, "a."), "a.", []api.Secondary{has, has}, "not verified yet (2 of 10, 12s ago; every secondary has it since)"},
		"all have it that clients ask": {agreement(2, 10, "a."), "a.", []api.Secondary{has, hidden}, "not verified yet (2 of 10, 12s ago; every secondary has it since)"},
	} {
		v := statusView{View: failover.View{At: now}, Secondaries: c.secondaries}
		n := failover.NameView{NameRecord: failover.NameRecord{Name: "n.lab.test.", Provider: "embedded", Value: c.value}, Published: c.published}
		if got := publishedWords(&v, n); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
