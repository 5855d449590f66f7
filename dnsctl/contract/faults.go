package contract

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// patience is how long something may take that must come about.
const patience = 20 * time.Second

func cancelledBefore(t *testing.T, w World) {
	p := w.able(t)
	w.shows(t, p, w.old())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sent := w.beside(t, p, func() {
		out, err := p.Write(ctx, w.first())
		refused(t, out, err, failover.WriteRefused, dnsctl.ErrNotSent)
		if _, err := p.Read(ctx, w.Name); err == nil {
			t.Error("it read although it was cancelled")
		}
	})
	if sent > 0 {
		t.Errorf("%d requests or connections although it was cancelled", sent)
	}
	w.shows(t, p, w.old())
}

// beside counts what reached the write point because of do. It reads before and
// after, and takes off what a read costs: what came first is counted first, so
// that nothing of do is still under way when it looks.
func (w World) beside(t *testing.T, p dnsctl.Provider, do func()) int64 {
	t.Helper()
	read := func() int64 {
		if _, err := p.Read(t.Context(), w.Name); err != nil {
			t.Fatal(err)
		}
		all, _ := w.Requests()
		return all
	}
	first := read()
	second := read()
	do()
	return read() - second - (second - first)
}

// cancelledInTheMiddle: the request was carried out, its reply has not come, and
// nobody waits for it any longer.
func cancelledInTheMiddle(t *testing.T, w World) {
	p := w.able(t)
	carried := w.Disturb(t, Hang)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		out failover.WriteOutcome
		err error
	}
	ended := make(chan result, 1)
	go func() {
		out, err := p.Write(ctx, w.first())
		ended <- result{out, err}
	}()
	await(t, carried, "the request was not carried out")
	cancel()
	var got result
	select {
	case got = <-ended:
	case <-time.After(patience):
		t.Fatal("it does not end although it was cancelled")
	}
	// At its own timeout it would end as well, for another reason.
	refused(t, got.out, got.err, failover.WriteUnknown, context.Canceled)
	w.landed(t, w.able(t), got.out)
}

func lostReply(t *testing.T, w World) {
	p := w.able(t)
	c := w.first()
	_, none := w.Requests()
	w.write(t, p, c)
	before, one := w.Requests()
	carried := w.Disturb(t, Cut)
	next := w.after(c, 2)
	out, err := p.Write(t.Context(), next)
	await(t, carried, "no request was disturbed")
	after, two := w.Requests()
	if two-one > one-none {
		t.Errorf("%d requests that change something where an undisturbed change takes %d", two-one, one-none)
	}
	switch out {
	case failover.WriteUnknown:
		if !errors.Is(err, dnsctl.ErrNoAnswer) {
			t.Errorf("unknown, %v", err)
		}
	case failover.WriteDone: // it read back before it went on
		if after-before <= two-one || err != nil {
			t.Errorf("done without having looked: %v", err)
		}
	default:
		t.Errorf("%s, %v", out, err)
	}
	s, err := p.Read(t.Context(), w.Name)
	if err != nil {
		t.Fatal(err)
	}
	if p.Capabilities().Atomic || out == failover.WriteDone {
		w.shows(t, p, shown(next))
		return
	}
	// A part may have changed. Planned from what is read, it is gone on with.
	finish(t, w, p, s, next)
}

// landed demands that a change which was cut off stands there, or, where the
// provider does not promise one step, can be gone on with.
func (w World) landed(t *testing.T, p dnsctl.Provider, out failover.WriteOutcome) {
	t.Helper()
	if p.Capabilities().Atomic {
		w.shows(t, p, shown(w.first()))
		return
	}
	s, err := p.Read(t.Context(), w.Name)
	if err != nil {
		t.Fatalf("read after %s: %v", out, err)
	}
	finish(t, w, p, s, w.first())
}

// finish writes what c wanted, from the state that was read after c was cut off.
func finish(t *testing.T, w World, p dnsctl.Provider, s dnsctl.State, c dnsctl.Change) {
	t.Helper()
	d, err := dnsctl.Plan(s, dnsctl.Want{Name: w.Name, Value: c.Value, TTL: c.TTL, Mark: c.Mark})
	if err != nil {
		t.Fatal(err)
	}
	if !d.Nothing() {
		w.write(t, p, d.Change)
	}
	w.shows(t, p, shown(c))
}

func unreachable(t *testing.T, w World) {
	p := w.Provider(t, Unreachable)
	if s, err := p.Read(t.Context(), w.Name); err == nil || s.Value != "" || s.Absent {
		t.Errorf("read: %+v, %v: not to know is not to be absent", s, err)
	}
	out, err := p.Write(t.Context(), w.first())
	refused(t, out, err, failover.WriteRefused, dnsctl.ErrNotSent)
	w.shows(t, w.able(t), w.old())
}

func readOnly(t *testing.T, w World) {
	p := w.Provider(t, ReadOnly)
	w.shows(t, p, w.old())
	sent := w.beside(t, p, func() {
		out, err := p.Write(t.Context(), w.first())
		refused(t, out, err, failover.WriteRefused, dnsctl.ErrReadOnly)
	})
	if sent > 0 {
		t.Errorf("%d requests or connections for a write that may not be", sent)
	}
	w.shows(t, p, w.old())
}

// redacted goes through everything that a provider says, in good times and bad.
func redacted(t *testing.T, w World) {
	kinds := []Kind{Able, Denied}
	for _, k := range []Kind{ReadOnly, Unreachable} {
		if _, without := w.Without[string(k)]; !without {
			kinds = append(kinds, k)
		}
	}
	var said []string
	for _, k := range kinds {
		p := w.Provider(t, k)
		got := told(t.Context(), p, w.first())
		if k == Denied {
			if out, err := p.Write(t.Context(), w.first()); out == failover.WriteDone || err == nil {
				t.Errorf("a credential that is not accepted writes: %s, %v", out, err)
			}
		}
		said = append(said, got...)
	}
	p := w.able(t)
	w.Disturb(t, Cut)
	s, err := p.Read(t.Context(), w.Name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dnsctl.Plan(s, dnsctl.Want{Name: w.Name, Value: w.A, TTL: w.TTL, Mark: mark(7)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Write(t.Context(), d.Change)
	if out == failover.WriteDone && p.Capabilities().CompareAndSwap {
		t.Errorf("the premise is gone: a disturbed write is done")
	}
	said = append(said, fmt.Sprintf("%v %+v %#v", err, err, err))
	for _, secret := range w.Secrets {
		for _, form := range forms(secret) {
			for _, text := range said {
				if strings.Contains(text, form) {
					t.Errorf("a secret in %q", text)
				}
			}
		}
	}
}

// forms are the ways in which a secret could come out.
func forms(secret string) []string {
	out := []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) > 0 {
		out = append(out, string(raw), hex.EncodeToString(raw))
	}
	return out
}

func await(t *testing.T, ch <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal(otherwise)
	}
}
