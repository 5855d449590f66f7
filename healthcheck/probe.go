package healthcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"pointsman/internal/failover"
)

// Probe is one look at one cluster. It returns nil for healthy and otherwise
// the reason; errors.Is(err, ErrOwn) holds when the fault is ours and says
// nothing about the cluster. A probe ends when its context does, opens a
// connection of its own, and may leave details in the Trace of the context.
type Probe func(ctx context.Context) error

// Phase is how far a probe came.
type Phase string

const (
	PhaseSchedule Phase = "schedule" // it was late, or ended by us
	PhaseResolve  Phase = "resolve"
	PhaseConnect  Phase = "connect"
	PhaseTLS      Phase = "tls"
	PhaseWrite    Phase = "write"
	PhaseRead     Phase = "read"
	PhaseStatus   Phase = "status"
	PhaseHeader   Phase = "header"
	PhaseBody     Phase = "body"
	PhaseIdentity Phase = "identity"
	PhaseDone     Phase = "done"
)

// Trace is what a probe met on its way. The scheduler puts one into the
// context; a probe that runs without one works just the same.
type Trace struct {
	Phase         Phase
	Local, Remote netip.AddrPort // of the connection; Remote also when connecting failed

	// How long each part took; 0 where it was not reached.
	Resolve, Connect, TLS, Answer time.Duration // Answer: from the connection to the end of the body

	Warnings []string // never count as a miss
	Identity bool     // the answer proved which cluster it came from

	// What became of writes: see failover.Sighting. Empty where none was tried.
	Canary   failover.CanaryResult
	Client   failover.ClientResult
	ClientAt time.Time

	Units CapacityUnits // that a Tablestore says it took for the probe

	CertificateEnds time.Time // of the chain that was shown, the certificate that ends first; zero without TLS
}

type traceKey struct{}

// WithTrace returns a context in which probes fill tr.
func WithTrace(ctx context.Context, tr *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, tr)
}

func traceOf(ctx context.Context) *Trace {
	if tr, ok := ctx.Value(traceKey{}).(*Trace); ok {
		return tr
	}
	return &Trace{}
}

func (t *Trace) warn(format string, args ...any) {
	t.Warnings = append(t.Warnings, fmt.Sprintf(format, args...))
}

// CapacityUnits are what the vendor bills, each for up to 4 KiB.
type CapacityUnits struct{ Read, Write int64 }

func (u *CapacityUnits) add(of CapacityUnits) {
	u.Read += of.Read
	u.Write += of.Write
}

// wrote takes what became of writes from another trace that tells of some.
func (t *Trace) wrote(of Trace) {
	if of.Canary != failover.CanaryNone {
		t.Canary = of.Canary
	}
	t.Units.add(of.Units)
	if of.Client != failover.ClientNone {
		t.Client, t.ClientAt = of.Client, of.ClientAt
	}
}

// ProbeConfig is what a probe needs besides its target.
type ProbeConfig struct {
	Vantage failover.VantageName // named in the User-Agent, so that operators of a cluster know who asks
	Allow   []netip.Prefix       // of the addresses that are otherwise refused, those that may be probed
	// Lookup resolves host names; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// ReadKey reads a file that holds an access key, at every use, and insists
	// on its mode and owner; nil: such checks are a fault of our own.
	ReadKey func(path string) ([]byte, error)
}

// NewProbe builds the probe of a target. The error names every fault of it.
func NewProbe(t Target, c ProbeConfig) (Probe, error) {
	if faults := t.Validate(); len(faults) > 0 {
		return nil, joinFaults(faults)
	}
	if len(t.Checks) == 0 {
		return newSingle(t, c)
	}
	return newCombined(t, c)
}

// newSingle builds the probe of a target with one check.
func newSingle(t Target, c ProbeConfig) (Probe, error) {
	if t.Check.CAFile != "" {
		return nil, errors.New("check.ca_file: is not loaded into ca")
	}
	t.Check = t.Check.withDefaults()
	t.Check.Slow = t.slow()
	d := newDialer(t, c)
	if err := d.checkLiteral(); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	var probe Probe
	switch t.Check.Type {
	case GRPC, GRPCS:
		probe = grpcProbe(d, t, c)
	case DNS:
		var err error
		if probe, err = dnsProbe(d, t); err != nil {
			return nil, err
		}
	case ICMP:
		probe = icmpProbe(d)
	case Exec:
		probe = execProbe(t)
	case Tablestore:
		k, err := newCanary(d, t, c)
		if err != nil {
			return nil, err
		}
		probe = k.probe
	case TCP:
		probe = tcpProbe(d)
	case TLS:
		probe = tlsProbe(d, t)
	case HTTP, HTTPS:
		var err error
		if probe, err = httpProbe(d, t, c); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) error {
		start := time.Now()
		err := blame(ctx, probe(ctx))
		if took := time.Since(start); err == nil && took > t.Check.Slow {
			traceOf(ctx).warn("slow: answered in %s, above %s", took.Round(time.Millisecond), t.Check.Slow)
		}
		return err
	}, nil
}

// slow is when a success carries a warning.
func (t *Target) slow() time.Duration { return cmp.Or(t.Check.Slow, t.Timeout/2) }

// blame marks the faults of our own.
func blame(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	// Ended by us: whatever broke broke because of that.
	if errors.Is(ctx.Err(), context.Canceled) {
		return Own(fmt.Errorf("ended by us: %w", context.Cause(ctx)))
	}
	if isOwn(err) {
		return Own(err)
	}
	return err
}

func joinFaults(faults []Fault) error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// limitOf is how long the context lets a probe take from now on, for messages.
func limitOf(ctx context.Context, start time.Time) time.Duration {
	d, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return d.Sub(start)
}

// bind makes the connection obey the context: its deadline at once, its end
// by an expired deadline. The returned function undoes the latter.
func bind(ctx context.Context, c net.Conn) func() bool {
	if d, ok := ctx.Deadline(); ok {
		c.SetDeadline(d)
	}
	return context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
}
