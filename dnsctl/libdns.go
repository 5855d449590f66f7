package dnsctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/libdns/libdns"
	"golang.org/x/time/rate"

	"pointsman/internal/failover"
)

// DefaultLibDNSRequests is how many calls of a module a second are made at
// most: each reads a whole zone or changes it.
const DefaultLibDNSRequests = 5

// maxCalls is how many calls of a module may be under way, those included that
// nobody waits for any longer and that do not end.
const maxCalls = 8

// LibDNSConfig says where the names of one zone are changed by a module of the
// libdns project (github.com/libdns/libdns).
type LibDNSConfig struct {
	Module string // powerdns or rfc2136; see [CheckLibDNSModule]
	Zone   string // the zone's apex

	// Settings are what the module wants, as [ParseLibDNSSettings] takes them.
	// With ReadOnly they are not touched.
	Settings Secret
	// ReadSettings are those of a dry run, with a credential that cannot write.
	ReadSettings Secret
	ReadOnly     bool // never calls what would change something

	// Timeout bounds each Read and each Write as a whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Settle is how long a call that was given up may still take effect;
	// 0 is DefaultSettle, at most 15 minutes.
	Settle time.Duration
	// RequestsPerSecond bounds the calls; 0 is DefaultLibDNSRequests.
	RequestsPerSecond float64

	// Allowed lists, for each name, the only targets that may ever be
	// written. A name that is missing cannot be written.
	Allowed map[failover.RecordName][]failover.Target

	// Now is the clock of everything that waits; nil is time.Now.
	Now func() time.Time
}

// Capabilities are those of a provider of this config.
func (c LibDNSConfig) Capabilities() Capabilities {
	return Capabilities{Atomic: libdnsBuilt[c.Module].atomic, Mark: "txt", Settle: cmp.Or(c.Settle, DefaultSettle)}
}

// Validate returns every fault, each with its key path. Settings are checked
// where they are read.
func (c LibDNSConfig) Validate() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := CheckLibDNSModule(c.Module); err != nil {
		bad("module: %w", err)
	}
	zone, err := parseZone(c.Zone)
	if err != nil {
		bad("zone: %w", err)
	}
	if c.Timeout < 0 {
		bad("timeout: %s must not be negative", c.Timeout)
	}
	if c.Settle < 0 || c.Settle > maxSettle {
		bad("settle: %s is outside 0s to %s", c.Settle, maxSettle)
	}
	if c.RequestsPerSecond < 0 {
		bad("requests_per_second: must not be negative")
	}
	return append(errs, allowedFaults(c.Allowed, zone, inZone)...)
}

// Loopback says whether everything that this config speaks to is on this
// machine. Only the module's settings know, and they are secret: no.
func (c LibDNSConfig) Loopback() bool { return false }

// LibDNS changes names through a module of the libdns project. Such modules
// have no condition on a write, know only whole zones, and say little of what
// went wrong. So a write reads the zone, sees that exactly one CNAME stands at
// the name with the value and the mark that are expected, sets CNAME and mark
// to typed records, and reads the zone again; in between somebody else may
// write. The mark is a TXT record at _pointsman.<name>.
//
// A module is foreign code: a panic costs its call alone, a call that does not
// end keeps nobody waiting longer than the caller's context, and nothing that
// it says is shown before the values of its settings are taken out.
//
// It is safe for concurrent use.
type LibDNS struct {
	name     string // of the module
	zone     failover.RecordName
	module   libdnsModule
	client   libdnsClient
	hide     hider
	allowed  map[failover.RecordName][]failover.Target
	timeout  time.Duration
	settle   time.Duration
	readOnly bool
	now      func() time.Time
	settling *settling
	pace     *rate.Limiter
	calls    chan struct{}
	reads    zoneReads
	pause    func(n int) time.Duration // before the n-th repetition

	mu      sync.Mutex
	writing map[failover.RecordName]chan struct{} // one write of a name at a time
}

var _ Provider = (*LibDNS)(nil)

// NewLibDNS checks the config and the settings and builds the provider; it
// opens no connection. The error joins every fault that Validate finds.
func NewLibDNS(c LibDNSConfig) (*LibDNS, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("libdns: %w", errors.Join(errs...))
	}
	return newLibDNS(libdnsBuilt[c.Module], c)
}

func newLibDNS(m libdnsModule, c LibDNSConfig) (*LibDNS, error) {
	settings, what := c.Settings, "settings_file"
	if c.ReadOnly {
		settings, what = c.ReadSettings, "read_settings_file"
	}
	if settings.IsZero() {
		return nil, fmt.Errorf("libdns %s: %s: there are no settings: write what the module wants into a JSON file of mode 0600", c.Module, what)
	}
	p := &LibDNS{
		name: c.Module, zone: failover.RecordName(canonical(c.Zone)), module: m, hide: newHider(settings.raw(), m.shown),
		allowed: canonicalAllowed(c.Allowed), timeout: c.Timeout, settle: c.Settle, readOnly: c.ReadOnly, now: c.Now,
		calls: make(chan struct{}, maxCalls), pause: pauseBefore, writing: make(map[failover.RecordName]chan struct{}),
	}
	if p.timeout == 0 {
		p.timeout = DefaultTimeout
	}
	if p.settle == 0 {
		p.settle = DefaultSettle
	}
	if p.now == nil {
		p.now = time.Now
	}
	perSecond := c.RequestsPerSecond
	if perSecond == 0 {
		perSecond = DefaultLibDNSRequests
	}
	p.pace = rate.NewLimiter(rate.Limit(perSecond), max(2*int(perSecond), 4)) // a write has four calls
	p.settling = newSettling(p.settle, p.now)
	p.reads.fetch = p.fetch
	err := p.guarded(func() error {
		var err error
		p.client, err = m.open(settings.raw())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("libdns %s: %s: %s", c.Module, what, p.hide.say(err))
	}
	return p, nil
}

// String names the provider without anything secret.
func (p *LibDNS) String() string {
	return fmt.Sprintf("libdns %s %s zone %s", p.name, libdnsAllowed[p.name].version, p.zone)
}

// Format is String under every verb: formatting would walk into the settings.
func (p *LibDNS) Format(f fmt.State, _ rune) { fmt.Fprint(f, p.String()) }

// Capabilities of an interface without conditions.
func (p *LibDNS) Capabilities() Capabilities {
	return Capabilities{Atomic: p.module.atomic, Mark: "txt", Settle: p.settle}
}

// Read reads the whole zone, shared with whoever else waits for it, and says
// what stands at the name and at its mark.
//
// An error means that nothing is known of the name. It wraps one of ErrNotSent,
// ErrNoAnswer, ErrMalformed, ErrServer, ErrSeveral, ErrKey, ErrSecret, ErrClock,
// ErrRights, ErrZone, ErrUnsupported (the zone is too large).
func (p *LibDNS) Read(ctx context.Context, name failover.RecordName) (State, error) {
	n, err := nameInZone(name, p.zone)
	if err != nil {
		return State{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	s, err := p.look(ctx, n)
	if err != nil {
		return State{}, fmt.Errorf("read %s: %w", n, err)
	}
	return s, nil
}

func (p *LibDNS) look(ctx context.Context, n failover.RecordName) (State, error) {
	if err := ctx.Err(); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	zone, err := p.reads.read(ctx)
	if err != nil {
		return State{}, err
	}
	return zone.state(relative(n, p.zone))
}

// zoneView is what a zone holds, by relative name in lower case.
type zoneView map[string][]libdns.RR

func viewOf(recs []libdns.Record) (zoneView, error) {
	if len(recs) > maxZoneRecords {
		return nil, errZoneSize
	}
	v := make(zoneView, len(recs))
	for _, r := range recs {
		if r == nil {
			return nil, fmt.Errorf("%w: a record that is none", ErrMalformed)
		}
		rr := r.RR()
		name := strings.ToLower(rr.Name)
		v[name] = append(v[name], rr)
	}
	return v, nil
}

func (v zoneView) state(name string) (State, error) {
	var s State
	var other []string
	for _, rr := range v[name] {
		switch rr.Type {
		case "CNAME":
			if s.Value != "" {
				return State{}, fmt.Errorf("%w: %s has the CNAMEs %s and %s", ErrSeveral, name, s.Value, printable(rr.Data, 64))
			}
			target := canonical(rr.Data)
			ttl := int64(rr.TTL / time.Second)
			if !wireName(target) || target == "." || ttl < 0 || ttl > 1<<31-1 {
				return State{}, fmt.Errorf("%w: CNAME %s with the TTL %s", ErrMalformed, printable(rr.Data, 64), rr.TTL)
			}
			s.Value, s.TTL = failover.Target(target), uint32(ttl)
		case "RRSIG", "NSEC", "NSEC3": // may stand beside a CNAME (RFC 4034 sections 3 and 4)
		default:
			other = addOnce(other, printable(rr.Type+" "+rr.Data, 64))
		}
	}
	marks := 0
	for _, rr := range v[markLabel+name] {
		switch rr.Type {
		case "TXT":
			if marks++; marks > 1 {
				return State{}, fmt.Errorf("%w: %s has several marks", ErrSeveral, name)
			}
			s.Mark = unquoteTXT(rr.Data)
		case "CNAME":
			other = append(other, "at the mark: CNAME "+printable(rr.Data, 64))
		}
	}
	s.Absent = s.Value == ""
	const most = 5
	if len(other) > most {
		other = append(other[:most:most], fmt.Sprintf("and %d more", len(other)-most))
	}
	s.Other = strings.Join(other, ", ")
	return s, nil
}

// unquoteTXT takes the quotes off a text: some modules return the strings of a
// TXT record as a zone file has them. A mark begins with no quote.
func unquoteTXT(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.ReplaceAll(s[1:len(s)-1], `" "`, "")
}

// fetch reads the zone.
func (p *LibDNS) fetch(ctx context.Context) (zoneView, error) {
	var recs []libdns.Record
	g := newGuard(false)
	err := p.call(ctx, g, func(ctx context.Context) (err error) {
		recs, err = p.client.get(ctx, g, string(p.zone))
		return err
	})
	if err != nil {
		return nil, err
	}
	var v zoneView
	err = p.guarded(func() (err error) { // records are the module's types
		v, err = viewOf(recs)
		return err
	})
	return v, err
}

// call makes one call of the module, within the context whether or not the
// module heeds it. Its error is a sentinel with what may be shown.
func (p *LibDNS) call(ctx context.Context, g *libdnsGuard, do func(ctx context.Context) error) error {
	if err := p.pace.Wait(ctx); err != nil {
		return fmt.Errorf("wait for a turn: %w (%w)", ErrNotSent, err)
	}
	select {
	case p.calls <- struct{}{}:
	default:
		return fmt.Errorf("%w: %d calls of the module have not ended: is there something between that holds connections?", ErrNotSent, maxCalls)
	}
	ended := make(chan error, 1)
	go func() {
		defer func() { <-p.calls }()
		ended <- p.guarded(func() error { return do(ctx) })
	}()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		select {
		case err = <-ended:
		default:
			err = ctx.Err()
		}
	}
	if err == nil {
		return nil
	}
	return p.means(ctx, g, err)
}

// guarded turns a panic into an error.
func (p *LibDNS) guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: the module panicked: %v", ErrServer, v)
		}
	}()
	return do()
}

// means says what an error of a module means.
func (p *LibDNS) means(ctx context.Context, g *libdnsGuard, err error) error {
	said := p.hide.say(err)
	var is error
	sent := g.shut()
	switch denial := p.module.denial(err); {
	case errors.Is(err, errZoneSize):
		return errZoneSize
	case denial != nil:
		is = denial
	case g.mayWrite && !sent:
		is = ErrNotSent
	default:
		is = ErrNoAnswer
	}
	if end := ctx.Err(); end != nil {
		return fmt.Errorf("%w: %s (%w)", is, said, end)
	}
	return fmt.Errorf("%w: %s", is, said)
}

// Write reads the zone, and sets CNAME and mark if exactly what the change
// expects stands there. The module checks no condition: who writes between the
// reading and the call is overwritten. It reads back, and reads back before it
// goes on where a call ended without an answer; it repeats none.
//
//   - WriteDone: the name was read back as wanted.
//   - WriteMismatch: the name shows something else, or earlier calls have not
//     settled (ErrSettling); nothing was changed.
//   - WriteUnknown: no answer tells, or only a part is there (ErrPartial); read back.
//   - WriteRefused: the module will not do it, or nothing was sent.
func (p *LibDNS) Write(ctx context.Context, c Change) (failover.WriteOutcome, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	err := p.write(ctx, c)
	if err != nil {
		err = fmt.Errorf("write %s: %w", c.Name, err)
	}
	return outcome(err), err
}

func (p *LibDNS) write(ctx context.Context, c Change) error {
	if p.readOnly {
		return ErrReadOnly
	}
	if _, err := c.permit(inZone(p.zone), p.allowed); err != nil {
		return err
	}
	mark, err := failover.ParseMark(c.Mark)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	alone := p.alone(c.Name)
	select {
	case alone <- struct{}{}:
		defer func() { <-alone }()
	case <-ctx.Done():
		return fmt.Errorf("%w: another write of the name is on its way", ErrNotSent)
	}
	seen, err := p.prepare(ctx, c, mark.Token.Term)
	if err != nil {
		return err
	}
	return p.bring(ctx, c, seen)
}

func (p *LibDNS) alone(n failover.RecordName) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing[n] == nil {
		p.writing[n] = make(chan struct{}, 1)
	}
	return p.writing[n]
}

// prepare reads the name, and again once nothing that was sent earlier can come
// in between.
func (p *LibDNS) prepare(ctx context.Context, c Change, term uint64) (State, error) {
	for {
		s, err := p.look(ctx, c.Name)
		if err != nil {
			return State{}, fmt.Errorf("read before writing: %w (%w)", ErrNotSent, err)
		}
		if err := expected(s, c); err != nil {
			return State{}, err
		}
		until := p.settling.until(c, term, []cloudRecord{{mark: s.Mark}})
		if until.IsZero() || asWanted(s, c) {
			return s, nil
		}
		if err := p.settling.sleep(ctx, until, p.timeout/2); err != nil {
			return State{}, err
		}
	}
}

func asWanted(s State, c Change) bool {
	return s.Value == c.Value && s.TTL == c.TTL && s.Mark == c.Mark
}

// expected refuses a change that what was read does not allow.
func expected(s State, c Change) error {
	switch {
	case s.Other != "":
		return fmt.Errorf("%w: %s", ErrOtherRecord, s.Other)
	case asWanted(s, c):
		return nil
	case s.Absent && c.Expect == "":
		return fmt.Errorf("%w: it creates no name, since a zone that was read in part looks the same: create the CNAME once by hand", ErrUnsupported)
	case s.Absent || s.Value != c.Expect || c.ExpectMark != nil && s.Mark != *c.ExpectMark:
		return fmt.Errorf("%w: it shows %s with %q", ErrPrerequisite, listOr(nonEmpty(string(s.Value)), "no CNAME"), printable(s.Mark, 80))
	}
	return nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// bring sets what the name lacks: both at once where that is one step,
// otherwise the value first. A write that is cut off then leaves the new value
// under the old mark, which is gone on with; the other way round the mark would
// tell of a move that was not made.
func (p *LibDNS) bring(ctx context.Context, c Change, s State) error {
	name, ttl := relative(c.Name, p.zone), time.Duration(c.TTL)*time.Second
	cname := libdns.CNAME{Name: name, TTL: ttl, Target: string(c.Value)}
	txt := libdns.TXT{Name: markLabel + name, TTL: ttl, Text: c.Mark}
	steps := [][]libdns.Record{{cname}, {txt}}
	if p.module.atomic {
		steps = [][]libdns.Record{{cname, txt}}
	}
	lacks := func(s State, step int) bool {
		if p.module.atomic {
			return !asWanted(s, c)
		}
		return step == 0 && (s.Value != c.Value || s.TTL != c.TTL) || step == 1 && s.Mark != c.Mark
	}
	began := false
	for i, recs := range steps {
		if !lacks(s, i) {
			continue
		}
		err := p.set(ctx, c, recs)
		if err == nil {
			began = true
			continue
		}
		if errors.Is(err, ErrNoAnswer) {
			// It may have landed; only if it shows, it is gone on.
			now, rerr := p.look(ctx, c.Name)
			if rerr == nil && now.Other == "" && !lacks(now, i) {
				s, began = now, true
				continue
			}
		}
		if began {
			return fmt.Errorf("%w: the value is there, the mark is not: %w", ErrPartial, err)
		}
		return err
	}
	if !began {
		return nil // it was all there
	}
	return p.confirm(ctx, c, s)
}

// set makes one call that changes something.
func (p *LibDNS) set(ctx context.Context, c Change, recs []libdns.Record) error {
	g := newGuard(true)
	err := p.call(ctx, g, func(ctx context.Context) error { return p.client.set(ctx, g, string(p.zone), recs) })
	if mayHaveLanded(err) {
		late := lateRequest{}
		for _, r := range recs {
			switch r.(type) {
			case libdns.CNAME:
				late.value, late.ttl = c.Value, c.TTL
			case libdns.TXT:
				late.mark = c.Mark
			}
		}
		p.settling.gaveUp(c.Name, late)
	}
	return err
}

// confirm reads back what was accepted. A place that shows what was before for
// a while is asked again as long as there is time; what somebody else wrote
// meanwhile is said at once.
func (p *LibDNS) confirm(ctx context.Context, c Change, before State) error {
	for n := 1; ; n++ {
		s, err := p.look(ctx, c.Name)
		switch {
		case err == nil && s.Other == "" && asWanted(s, c):
			return nil
		case err == nil && (s.Other != "" || s.Mark != before.Mark && s.Mark != c.Mark || s.Value != before.Value && s.Value != c.Value):
			return fmt.Errorf("%w: it was accepted, and then the name shows %s with %q%s", ErrUnstable,
				listOr(nonEmpty(string(s.Value)), "no CNAME"), printable(s.Mark, 80), beside(s.Other))
		case err == nil:
			err = fmt.Errorf("%w: it was accepted, but the name shows %s for %d s with %q", ErrUnstable, s.Value, s.TTL, printable(s.Mark, 80))
		case errors.Is(err, ErrSeveral):
			return fmt.Errorf("%w: it was accepted, and then: %w", ErrPartial, err)
		}
		if sleep(ctx, p.pause(n)) != nil {
			return fmt.Errorf("%w: read back: %w", ErrPartial, err)
		}
	}
}

func beside(other string) string {
	if other == "" {
		return ""
	}
	return " beside " + other
}

// zoneReads shares readings of a whole zone: one is under way at most, and who
// comes meanwhile gets the next, which begins after he came. So nobody is told
// what stood there before he asked, and many names cost no more than one.
type zoneReads struct {
	fetch func(ctx context.Context) (zoneView, error)

	mu            sync.Mutex
	running, next *zoneRead
}

type zoneRead struct {
	waiting int
	ctx     context.Context
	cancel  context.CancelFunc // when nobody waits any longer
	done    chan struct{}
	view    zoneView
	err     error
}

func (z *zoneReads) read(ctx context.Context) (zoneView, error) {
	z.mu.Lock()
	r := z.next
	if r == nil {
		r = &zoneRead{done: make(chan struct{})}
		r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
		if z.running == nil {
			z.running = r
			go z.run(r)
		} else {
			z.next = r
		}
	}
	r.waiting++
	z.mu.Unlock()
	select {
	case <-r.done:
		return r.view, r.err
	case <-ctx.Done():
	}
	z.mu.Lock()
	if r.waiting--; r.waiting == 0 {
		r.cancel()
		if z.next == r {
			z.next = nil
		}
	}
	z.mu.Unlock()
	return nil, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
}

// run reads for all who wait for r, and goes on with the next.
func (z *zoneReads) run(r *zoneRead) {
	for r != nil {
		r.view, r.err = z.fetch(r.ctx)
		r.cancel()
		close(r.done)
		z.mu.Lock()
		r, z.next = z.next, nil
		z.running = r
		z.mu.Unlock()
	}
}
