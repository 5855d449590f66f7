//go:build libdns_rfc2136

package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/libdns/libdns"
	"github.com/libdns/rfc2136"
)

func init() {
	libdnsBuilt["rfc2136"] = libdnsModule{
		atomic: true, // one update message (RFC 2136 section 3.7)
		shown:  []string{"server", "key_name", "key_alg"}, open: openRFC2136Module, denial: rfc2136Denial,
	}
}

type rfc2136Client struct{ p rfc2136.Provider }

func openRFC2136Module(settings []byte) (libdnsClient, error) {
	var p rfc2136.Provider
	if err := decodeSettings(settings, &p); err != nil {
		return nil, err
	}
	if err := checkServer(p.Server); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	secret, err := ParseSecret(p.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if errs := (Key{Name: p.KeyName, Algorithm: p.KeyAlg, Secret: secret}).Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return rfc2136Client{p}, nil
}

func (c rfc2136Client) get(ctx context.Context, g *libdnsGuard, zone string) (recs []libdns.Record, err error) {
	err = c.relayed(ctx, g, func(p *rfc2136.Provider) error {
		recs, err = p.GetRecords(ctx, zone)
		return err
	})
	return recs, err
}

func (c rfc2136Client) set(ctx context.Context, g *libdnsGuard, zone string, recs []libdns.Record) error {
	return c.relayed(ctx, g, func(p *rfc2136.Provider) error {
		_, err := p.SetRecords(ctx, zone, recs)
		return err
	})
}

// relayed makes a call through a door of its own on this machine. The module
// has no bound on what a transfer may bring, forgets the context once it is
// connected, and does not tell whether anything was sent: the door does. Who
// else comes through it in that time reaches the server, as he could anyhow.
func (c rfc2136Client) relayed(ctx context.Context, g *libdnsGuard, do func(p *rfc2136.Provider) error) error {
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("door on this machine: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &relay{to: c.p.Server, guard: g}
	var wg sync.WaitGroup
	wg.Go(func() {
		<-ctx.Done()
		door.Close()
	})
	wg.Go(func() {
		for {
			in, err := door.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.carry(ctx, in) })
		}
	})
	p := c.p
	p.Server = door.Addr().String()
	err = do(&p)
	cancel()
	wg.Wait()
	if end := r.failed(); end != nil && err != nil {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}

type relay struct {
	to    string
	guard *libdnsGuard

	mu   sync.Mutex
	fail error
}

func (r *relay) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fail
}

func (r *relay) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail == nil {
		r.fail = err
	}
}

// carry carries one connection, until either side or the call ends.
func (r *relay) carry(ctx context.Context, in net.Conn) {
	defer in.Close()
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.to)
	if err != nil {
		r.note(err)
		return
	}
	defer out.Close()
	defer context.AfterFunc(ctx, func() { in.Close(); out.Close() })()
	if r.guard.mayWrite {
		if err := r.guard.begin(); err != nil {
			r.note(err)
			return
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		_, _ = io.Copy(out, in) // what failed shows at the module
		out.Close()
	})
	_, err = io.Copy(in, guardedReader{out, r.guard})
	if errors.Is(err, errZoneSize) {
		r.note(err)
	}
	in.Close()
}

// rfc2136Denial reads the code that the server answered with, which the module
// has in its text only. What is known there of the words is of v1.0.1.
func rfc2136Denial(err error) error {
	for code, is := range map[string]error{
		"REFUSED": ErrRights, "NOTAUTH": ErrKey, "NOTZONE": ErrZone, "NOTIMP": ErrUnsupported, "BADKEY": ErrKey, "BADSIG": ErrSecret, "BADTIME": ErrClock,
	} {
		if strings.Contains(err.Error(), `dns response error code "`+code+`"`) {
			return is
		}
	}
	return nil
}
