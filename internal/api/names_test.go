package api

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// slow holds every look until it is let go.
type slow struct{ began, letGo chan struct{} }

func (s slow) Names(ctx context.Context, _ failover.InstanceName, look bool) ([]NameMatrix, error) {
	if look {
		s.began <- struct{}{}
		select {
		case <-s.letGo:
		case <-ctx.Done():
		}
	}
	return nil, nil
}

// A look is work for the host that decides: only so many go on at once, and
// who asks nobody is never turned away.
func TestFewLookAtNamesAtOnce(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	s := slow{make(chan struct{}), make(chan struct{})}
	cfg.Names = s
	serveTest(t, cfg)
	client, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for range maxLooking {
		g.Go(func() error { _, err := client.Names(t.Context(), "orders", true); return err })
		<-s.began
	}
	if _, err := client.Names(t.Context(), "orders", true); err == nil || !strings.Contains(err.Error(), "2 others are looking at names") {
		t.Errorf("one more: %v", err)
	}
	if _, err := client.Names(t.Context(), "orders", false); err != nil {
		t.Errorf("without a look: %v", err)
	}
	close(s.letGo)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	go func() { <-s.began }()
	if _, err := client.Names(t.Context(), "orders", true); err != nil {
		t.Errorf("after them: %v", err)
	}
}

// lookers answers for names, and notes whether it was to look anew.
type lookers struct{ looks *[]bool }

func (l lookers) Names(_ context.Context, i failover.InstanceName, look bool) ([]NameMatrix, error) {
	*l.looks = append(*l.looks, look)
	if i != "orders" {
		return nil, nil
	}
	return []NameMatrix{{Name: "orders.test.", Want: "a.test.", Authorities: []AuthoritySight{{Address: "192.0.2.1", Net: "udp", Agree: true, TTL: 30, AA: true}}}}, nil
}

func TestNamesAreLookedAtOnlyOnRequest(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	var looks []bool
	cfg.Names = lookers{&looks}
	serveTest(t, cfg)
	client, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	name := failover.InstanceName("orders")
	for _, look := range []bool{false, true} {
		got, err := client.Names(t.Context(), name, look)
		if err != nil || len(got) != 1 || len(got[0].Authorities) != 1 || got[0].Authorities[0].TTL != 30 {
			t.Errorf("look %v: %+v, %v", look, got, err)
		}
	}
	if !reflect.DeepEqual(looks, []bool{false, true}) {
		t.Errorf("it looked %v", looks)
	}
	if _, err := client.Names(t.Context(), "nobody", false); err == nil {
		t.Error("an instance that does not exist has names")
	}
	if len(looks) != 2 {
		t.Errorf("it was asked about an instance that does not exist: %v", looks)
	}
}
