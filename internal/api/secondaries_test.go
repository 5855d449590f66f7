package api

import (
	"reflect"
	"testing"
	"time"
)

type followers []Secondary

func (f followers) Secondaries() []Secondary { return f }

func TestSecondariesAreListedAndAbsentOnesAreNoFault(t *testing.T) {
	one := Secondary{
		Zone: "lab.test.", Address: "192.0.2.1:53", At: time.Unix(9, 0).UTC(), OK: true, Verdict: "acknowledged 7 and serves it", Clients: true, Notify: true,
		Serial: 7, Sent: 7, SentAt: time.Unix(8, 0).UTC(), Acknowledged: 7, AcknowledgedAt: time.Unix(8, 1).UTC(), Served: 7, ServedAt: time.Unix(8, 2).UTC(),
	}
	for name, c := range map[string]struct {
		has  Secondaries
		want []Secondary
	}{
		"one": {followers{one}, []Secondary{one}}, "none": {followers(nil), []Secondary{}}, "no authority": {nil, []Secondary{}},
	} {
		cfg := newWorld().config(t)
		cfg.Secondaries = c.has
		serveTest(t, cfg)
		client, err := NewClient(ClientConfig{Socket: cfg.Socket})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := client.Secondaries(t.Context()); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
