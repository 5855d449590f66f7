package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// ErrNoAddress is returned when a look-up ends without an address.
var ErrNoAddress = errors.New("no address")

// Client does what a client without a cache and without pooled connections
// does: it looks the name up, follows the CNAME to an address, connects anew
// and asks. A client that keeps connections or caches answers moves later;
// the name can do nothing about that.
type Client struct {
	Server  netip.AddrPort // the authority
	Name    string         // fully qualified
	Sites   []ClusterSite  // where each target serves; the address must agree with what DNS says
	Timeout time.Duration  // of a whole call, or of what follows the look-up where that has a patience of its own
	// Patience is for a look-up: a resolver may ask a dead server before it asks
	// another, and resolv.conf(5) lets clients wait for 5 s. 0: it counts as a
	// part of the call.
	Patience time.Duration
}

// ResolverPatience is how long clients of a resolver wait (resolv.conf(5)).
const ResolverPatience = 5 * time.Second

// Call is what became of one call.
type Call struct {
	At     time.Time
	Took   time.Duration
	Target string // what the CNAME showed
	By     string // the cluster that gave a good answer, by its address
	Claims string // the X-Cluster that it gave
	Err    error
}

// Outcome says in few words how the call ended; equal outcomes have equal words.
func (c Call) Outcome() string {
	switch {
	case c.Err != nil:
		return "errors: " + c.Err.Error()
	case c.Claims != c.By:
		return fmt.Sprintf("served by %s, which says that it is %q", c.By, c.Claims)
	}
	return "served by " + c.By
}

// Once makes one call.
func (c Client) Once(ctx context.Context) Call {
	call := Call{At: time.Now()}
	call.Err = c.fill(ctx, &call)
	call.Took = time.Since(call.At)
	return call
}

func (c Client) fill(ctx context.Context, call *Call) error {
	look, cancel := context.WithTimeout(ctx, cmp.Or(c.Patience, c.Timeout))
	defer cancel()
	target, addr, err := c.Resolve(look)
	call.Target = target
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.Sites, func(s ClusterSite) bool { return s.Target == target && s.Addr.Addr() == addr })
	if i < 0 {
		return fmt.Errorf("nothing of the lab lives at %s (%s)", target, addr)
	}
	site := c.Sites[i]
	tr := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", site.Addr.String())
		},
	}
	defer tr.CloseIdleConnections()
	host := fmt.Sprintf("%s:%d", strings.TrimSuffix(c.Name, "."), site.Addr.Port())
	if c.Patience == 0 {
		ctx = look // what is left of it
	} else {
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%s %w", target, plain(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", target, resp.StatusCode)
	}
	call.By, call.Claims = site.Name, resp.Header.Get("X-Cluster")
	return nil
}

// Resolve asks the authority for the address and follows one CNAME.
func (c Client) Resolve(ctx context.Context) (target string, addr netip.Addr, err error) {
	name := dns.CanonicalName(c.Name)
	for range 2 {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		r, _, err := (&dns.Client{Timeout: cmp.Or(c.Patience, c.Timeout)}).ExchangeContext(ctx, m, c.Server.String())
		if err != nil {
			return target, addr, fmt.Errorf("the authority %w", plain(err))
		}
		if r.Rcode != dns.RcodeSuccess {
			return target, addr, fmt.Errorf("the authority says %s", dns.RcodeToString[r.Rcode])
		}
		for _, rr := range r.Answer {
			owner := dns.CanonicalName(rr.Header().Name)
			switch rr := rr.(type) {
			case *dns.CNAME:
				if owner == name {
					target = dns.CanonicalName(rr.Target)
					name = target
				}
			case *dns.A:
				if ip, ok := netip.AddrFromSlice(rr.A); ok && owner == name {
					return target, ip.Unmap(), nil
				}
			}
		}
	}
	return target, addr, fmt.Errorf("%s: %w", c.Name, ErrNoAddress)
}

// plain reduces an error of the network to what a person wants to read.
func plain(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("does not answer in time")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("refuses the connection")
	case errors.Is(err, syscall.ECONNRESET):
		return errors.New("resets the connection")
	}
	return err
}

// Watch calls every so often until the context ends and tells every call. A
// call that takes long delays the next; none overlap.
func (c Client) Watch(ctx context.Context, every time.Duration, tell func(Call)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		call := c.Once(ctx)
		if ctx.Err() != nil {
			return
		}
		tell(call)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Follow looks the name up every so often until the context ends and tells
// what it shows.
func (c Client) Follow(ctx context.Context, every time.Duration, tell func(target string, err error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		look, cancel := context.WithTimeout(ctx, cmp.Or(c.Patience, c.Timeout))
		target, _, err := c.Resolve(look)
		cancel()
		if ctx.Err() != nil {
			return
		}
		tell(target, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Transitions turns calls into the few lines that a person wants to see: one
// per change of outcome, with how long there had been no service. The zero
// value is ready.
type Transitions struct {
	Noun     string // what is counted; call if empty
	last     string
	badSince time.Time
	Calls    int
	Failed   int
}

// Add takes one call and returns a line when the outcome changed, else "".
func (t *Transitions) Add(c Call) string {
	return t.add(c.At, c.Took, c.Outcome(), c.Err != nil)
}

// AddWrite takes one write.
func (t *Transitions) AddWrite(w Write) string {
	return t.add(w.At, w.Took, w.Outcome(), w.Err != nil)
}

func (t *Transitions) add(at time.Time, took time.Duration, out string, failed bool) string {
	t.Calls++
	now := at.Add(took)
	changed := out != t.last
	t.last = out
	line := ""
	if changed {
		line = now.Format("15:04:05.000") + "  " + out
	}
	if failed {
		t.Failed++
		if t.badSince.IsZero() {
			t.badSince = at
		}
		return line
	}
	if !t.badSince.IsZero() && line != "" {
		line += fmt.Sprintf("  (%d ms after the first failed %s)", now.Sub(t.badSince).Milliseconds(), cmp.Or(t.Noun, "call"))
	}
	t.badSince = time.Time{}
	return line
}
