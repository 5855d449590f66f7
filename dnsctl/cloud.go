package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// cloud is what the providers behind Alibaba Cloud's APIs have in common:
// records that are changed in place by their ID, on one line or several, value
// and remark one after the other, without any condition that the API would
// check. So everything is checked here, immediately before, and read back.
type cloud struct {
	api      cloudAPI
	name     string
	zone     failover.RecordName
	allowed  map[failover.RecordName][]failover.Target
	fixed    map[failover.RecordName]map[string]string // pins of the config
	timeout  time.Duration
	settle   time.Duration
	readOnly bool
	now      func() time.Time
	settling *settling
	call     *caller
	close    func()
	pause    func(n int) time.Duration // before the n-th repetition

	mu    sync.Mutex
	names map[failover.RecordName]*cloudName
	facts zoneFacts // as last read
}

// cloudName is what is known of one name.
type cloudName struct {
	writing chan struct{} // one write at a time

	mu     sync.Mutex
	pins   map[string]string // line to ID, of the config or of the first reading
	wanted failover.Target   // see sight.state
	moving time.Time         // its requests are urgent until then
	last   []cloudRecord     // of the last good reading, for Manual
}

// cloudAPI is one product.
type cloudAPI interface {
	// list returns all records, of any type, that stand at exactly this name.
	list(ctx context.Context, l lane, n failover.RecordName) ([]cloudRecord, error)
	setValue(ctx context.Context, n failover.RecordName, r cloudRecord, value failover.Target, ttl uint32) error
	setRemark(ctx context.Context, r cloudRecord, remark string) error
	// zoneFacts reads what must be known of the zone before writing.
	zoneFacts(ctx context.Context, l lane) (zoneFacts, error)
	// commands are the lines that do by hand what setValue does.
	command(n failover.RecordName, r cloudRecord, value failover.Target, ttl uint32) string
	// find are the commands that find the records of a name by themselves.
	find(n failover.RecordName, m CloudMove) CloudByHand
	// lookAtName and lookAtZone gather facts for people, see Inspect.
	lookAtName(ctx context.Context, i *inspection, n failover.RecordName)
	lookAtZone(ctx context.Context, i *inspection)
}

// zoneFacts are what a write depends on.
type zoneFacts struct {
	at     time.Time
	minTTL uint32 // seconds; 0 is not known
	unfit  error  // why nothing may be written there; nil: it is fit
}

const (
	factsLast  = 10 * time.Minute // how long they are not asked for again
	movingLast = time.Minute      // how long after a write a name is on the move
	readsApart = time.Second      // a write that had no effect is repeated unread within this
)

func newCloud(name string, c CloudConfig) (*cloud, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultCloudTimeout
	}
	if c.Settle == 0 {
		c.Settle = DefaultSettle
	}
	if c.RequestsPerSecond == 0 {
		c.RequestsPerSecond = DefaultRequestsPerSecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ReadFile == nil {
		c.ReadFile = readSecretFile
	}
	t, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	keys := &keyring{c: c.Credentials, readFile: c.ReadFile, http: t, timeout: c.Timeout / 2, now: c.Now}
	if c.ReadOnly {
		if !c.ReadCredentials.IsZero() {
			keys.c = c.ReadCredentials
		} else {
			keys.narrow = fmt.Sprintf(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"%s:Describe*","Resource":"*"}]}`, name)
		}
	}
	at, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	p := &cloud{
		name: name, zone: failover.RecordName(canonical(c.Zone)), allowed: canonicalAllowed(c.Allowed),
		fixed: make(map[failover.RecordName]map[string]string), timeout: c.Timeout, settle: c.Settle, readOnly: c.ReadOnly,
		now: c.Now, settling: newSettling(c.Settle, c.Now), names: make(map[failover.RecordName]*cloudName),
		call:  &caller{at: at, http: t, keys: keys, pace: newPace(c.RequestsPerSecond, c.Now), timeout: c.Timeout / 2, readOnly: c.ReadOnly},
		close: t.CloseIdleConnections, pause: pauseBefore,
	}
	for n, pins := range c.Records {
		p.fixed[failover.RecordName(canonical(string(n)))] = maps.Clone(pins)
	}
	return p, nil
}

// String names the provider without anything secret.
func (p *cloud) String() string {
	return fmt.Sprintf("%s %s zone %s", p.name, p.call.at.host, p.zone)
}

// Close closes the connections that are kept warm. The provider may be used on.
func (p *cloud) Close() { p.close() }

// Capabilities of an API without conditions.
func (p *cloud) Capabilities() Capabilities {
	return CloudConfig{Settle: p.settle}.Capabilities()
}

func (p *cloud) known(n failover.RecordName) *cloudName {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.names[n]
	if k == nil {
		k = &cloudName{writing: make(chan struct{}, 1), pins: maps.Clone(p.fixed[n])}
		p.names[n] = k
	}
	return k
}

// inZone returns the canonical name, or why it is none of this provider's.
func (p *cloud) inZone(name failover.RecordName) (failover.RecordName, error) {
	return nameInZone(name, p.zone)
}

// lane of the requests of a name.
func (p *cloud) lane(k *cloudName) lane {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.now().Before(k.moving) {
		return laneUrgent
	}
	return laneRoutine
}

// Read lists all records of exactly this name, on all lines. See [State] for
// what it says of lines that differ. The IDs of the records are pinned by the
// config or by the first reading; others later are said in State.Other.
//
// An error means that nothing is known of the name. It wraps one of ErrNotSent,
// ErrNoAnswer, ErrMalformed, ErrServer, ErrThrottled, ErrSeveral, ErrUnstable,
// ErrDisabled, ErrLocked, ErrKey, ErrSecret, ErrClock, ErrRights, ErrZone.
func (p *cloud) Read(ctx context.Context, name failover.RecordName) (State, error) {
	n, err := p.inZone(name)
	if err != nil {
		return State{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	k := p.known(n)
	l := p.lane(k)
	if ctx.Value(urgentKey{}) != nil {
		l = laneUrgent
	}
	var s sight
	for try := 1; ; try++ {
		if s, err = p.sight(ctx, l, n, k); err == nil || !transient(err) || try == 3 {
			break
		}
		if sleep(ctx, p.pause(try)) != nil {
			break
		}
	}
	if err != nil {
		return State{}, fmt.Errorf("read %s: %w", n, err)
	}
	facts, err := p.zoneNow(ctx, l)
	if errors.Is(err, ErrZone) {
		return State{}, fmt.Errorf("read %s: %w", n, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	st := s.state(p.allowed[n], k.wanted)
	st.Floor = facts.minTTL
	if s.agree() && len(s.lines) > 0 {
		k.wanted = st.Value
	}
	return st, nil
}

// sight reads a name and pins its records at the first time.
func (p *cloud) sight(ctx context.Context, l lane, n failover.RecordName, k *cloudName) (sight, error) {
	recs, err := p.api.list(ctx, l, n)
	if err != nil {
		return sight{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s, err := look(recs, k.pins)
	if err != nil {
		return sight{}, err
	}
	if k.pins == nil && len(s.lines) > 0 {
		k.pins = make(map[string]string, len(s.lines))
		for _, r := range s.lines {
			k.pins[r.line] = r.id
		}
	}
	k.last = s.lines
	return s, nil
}

// Repin takes the records that stand at a name now for its own, after a person
// has looked at a replacement. Pins of the config stay what they are.
func (p *cloud) Repin(name failover.RecordName) error {
	n, err := p.inZone(name)
	if err != nil {
		return err
	}
	if p.fixed[n] != nil {
		return fmt.Errorf("repin %s: %w: its records are pinned in the config: correct them there", n, ErrForbidden)
	}
	k := p.known(n)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pins = nil
	return nil
}

// zoneNow returns what is known of the zone, asked at most every ten minutes.
// What was known before serves on while it cannot be asked.
func (p *cloud) zoneNow(ctx context.Context, l lane) (zoneFacts, error) {
	p.mu.Lock()
	f := p.facts
	p.mu.Unlock()
	if !f.at.IsZero() && p.now().Sub(f.at) < factsLast {
		return f, f.zoneFault()
	}
	got, err := p.api.zoneFacts(ctx, l)
	if err != nil && !errors.Is(err, ErrZone) {
		if f.at.IsZero() {
			return zoneFacts{}, err
		}
		return f, nil
	}
	if err != nil {
		return zoneFacts{}, err
	}
	got.at = p.now()
	p.mu.Lock()
	p.facts = got
	p.mu.Unlock()
	return got, got.zoneFault()
}

func (f zoneFacts) zoneFault() error {
	if errors.Is(f.unfit, ErrZone) {
		return f.unfit
	}
	return nil
}

// Write changes value, then remark, of every line of the name, if every line
// shows what the change expects or what an earlier write of ours left on the
// way. The API checks none of it; it is read immediately before. From the first
// request on the write goes forward only: each line is tried again, with
// back-off and after reading it back, as long as the context lasts.
//
//   - WriteDone: every line was read back as wanted.
//   - WriteMismatch: some line shows something else, or earlier requests have
//     not settled (ErrSettling); nothing was changed.
//   - WriteUnknown: lines were reached, and others not (ErrPartial names both),
//     or no answer tells; read back.
//   - WriteRefused: the API will not do it, or nothing was sent.
func (p *cloud) Write(ctx context.Context, c Change) (failover.WriteOutcome, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	err := p.write(ctx, c)
	if err != nil {
		err = fmt.Errorf("write %s: %w", c.Name, err)
	}
	return outcome(err), err
}

func (p *cloud) write(ctx context.Context, c Change) error {
	if p.readOnly {
		return ErrReadOnly
	}
	if _, err := c.permit(inZone(p.zone), p.allowed); err != nil {
		return err
	}
	remark, err := toRemark(c.Mark)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	mark, err := failover.ParseMark(c.Mark)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	k := p.known(c.Name)
	select {
	case k.writing <- struct{}{}:
		defer func() { <-k.writing }()
	case <-ctx.Done():
		return fmt.Errorf("%w: another write of the name is on its way", ErrNotSent)
	}
	k.mu.Lock()
	k.moving = p.now().Add(movingLast)
	k.mu.Unlock()
	steps, err := p.prepare(ctx, c, mark.Token.Term, k)
	if err != nil || len(steps) == 0 {
		return err
	}
	k.mu.Lock()
	k.wanted = c.Value
	k.mu.Unlock()
	return p.bringAll(ctx, c, remark, steps, k)
}

// prepare reads the name and says what each line lacks, once nothing that was
// sent earlier can come in between.
func (p *cloud) prepare(ctx context.Context, c Change, term uint64, k *cloudName) ([]step, error) {
	for n := 1; ; n++ {
		s, err := p.sight(ctx, laneUrgent, c.Name, k)
		if err != nil && transient(err) && n < 6 && sleep(ctx, p.pause(n)) == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read before writing: %w (%w)", ErrNotSent, err)
		}
		steps, err := s.plan(c, p.allowed[c.Name])
		if err != nil || len(steps) == 0 {
			return nil, err
		}
		facts, err := p.zoneNow(ctx, laneUrgent)
		switch {
		case errors.Is(err, ErrZone):
			return nil, err
		case facts.unfit != nil:
			return nil, facts.unfit
		case facts.minTTL > c.TTL:
			return nil, fmt.Errorf("%w: %d s is below the %d s that the edition of the zone allows: raise ttl, or the edition", ErrTTL, c.TTL, facts.minTTL)
		}
		until := p.settling.until(c, term, s.lines)
		if until.IsZero() {
			return steps, nil
		}
		if err := p.settling.sleep(ctx, until, p.timeout/2); err != nil {
			return nil, err
		}
	}
}

// reach is what became of one line.
type reach struct {
	touched bool // a request was answered well, or may have landed
	err     error
}

// bringAll brings all lines there at once, so that one that hangs holds up no
// other, and reads all of them back together.
func (p *cloud) bringAll(ctx context.Context, c Change, remark string, steps []step, k *cloudName) error {
	got := make([]reach, len(steps))
	var wg sync.WaitGroup
	for i, st := range steps {
		wg.Go(func() { got[i] = p.bring(ctx, c, remark, st, k) })
	}
	wg.Wait()
	var done, not []string
	var errs []error
	touched := false
	for i, st := range steps {
		touched = touched || got[i].touched
		if got[i].err == nil {
			done = append(done, st.rec.line)
			continue
		}
		not = append(not, st.rec.line)
		errs = append(errs, fmt.Errorf("line %s: %w", st.rec.line, got[i].err))
	}
	switch {
	case len(errs) == 0:
		return p.confirm(ctx, c, steps, k)
	case !touched:
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w: reached %s, not %s: %w", ErrPartial, listOr(done, "none for certain"), strings.Join(not, ", "), errors.Join(errs...))
}

func listOr(l []string, none string) string {
	if len(l) == 0 {
		return none
	}
	return strings.Join(l, ", ")
}

// bring writes value and remark of one line. It repeats what may not have
// landed after reading the line back, and stops at what somebody else did.
func (p *cloud) bring(ctx context.Context, c Change, remark string, st step, k *cloudName) (r reach) {
	seen := p.now()
	var last error // what the API said last; that there was no time for more says less
	defer func() {
		if last != nil && r.err != nil && ctx.Err() != nil && !errors.Is(r.err, last) {
			r.err = fmt.Errorf("%w, and then there was no time: %w", last, r.err)
		}
	}()
	for n := 1; st.value || st.mark; n++ {
		var err error
		var late lateRequest
		if st.value {
			late.value, late.ttl = c.Value, c.TTL
			err = p.api.setValue(ctx, c.Name, st.rec, c.Value, c.TTL)
		} else {
			late.mark = c.Mark
			err = p.api.setRemark(ctx, st.rec, remark)
		}
		if err == nil {
			r.touched = true
			if st.value {
				st.value = false
			} else {
				st.mark = false
			}
			n = 0
			continue
		}
		if ctx.Err() == nil && !errors.Is(err, ErrNotSent) {
			last = err
		}
		if mayHaveLanded(err) {
			r.touched = true
			p.settling.gaveUp(c.Name, late)
		}
		if !transient(err) && !errors.Is(err, errDuplicate) {
			r.err = err
			return r
		}
		if sleep(ctx, p.pause(n)) != nil {
			r.err = err
			return r
		}
		if !mayHaveLanded(err) && !errors.Is(err, errDuplicate) && p.now().Sub(seen) < readsApart {
			continue
		}
		now, rerr := p.lineNow(ctx, c, st.rec, k)
		if rerr != nil {
			r.err = fmt.Errorf("%w (%w)", err, rerr)
			return r
		}
		seen = p.now()
		switch {
		case now.value == c.Value && now.ttl == c.TTL && (now.mark == st.rec.mark || now.mark == c.Mark):
			st.value, st.mark = false, now.mark != c.Mark
			st.rec.value, st.rec.ttl, st.rec.mark = now.value, now.ttl, now.mark
		case now.value == st.rec.value && now.mark == st.rec.mark:
		default:
			r.err = fmt.Errorf("%w: line %s: somebody else changed it meanwhile", ErrPrerequisite, now.shows())
			return r
		}
	}
	return r
}

// lineNow reads one line back, as often as it takes.
func (p *cloud) lineNow(ctx context.Context, c Change, rec cloudRecord, k *cloudName) (cloudRecord, error) {
	for n := 1; ; n++ {
		s, err := p.sight(ctx, laneUrgent, c.Name, k)
		if err == nil {
			for _, r := range s.lines {
				if r.line == rec.line && r.id == rec.id {
					return r, nil
				}
			}
			return cloudRecord{}, fmt.Errorf("%w: line %s, record %s", ErrReplaced, rec.line, rec.id)
		}
		if !transient(err) || sleep(ctx, p.pause(n)) != nil {
			return cloudRecord{}, fmt.Errorf("read back: %w", err)
		}
	}
}

// confirm reads all lines back together. An API that shows what was before for
// a while is asked again as long as there is time; what is neither that nor
// ours was written by somebody else, and no time will change it.
func (p *cloud) confirm(ctx context.Context, c Change, steps []step, k *cloudName) error {
	before := map[string]failover.Target{}
	for _, st := range steps {
		before[st.rec.line] = st.rec.value
	}
	var last error
	for n := 1; ; n++ {
		s, err := p.sight(ctx, laneUrgent, c.Name, k)
		var not, strange []string
		for _, r := range s.lines {
			if r.value != c.Value || r.mark != c.Mark || r.ttl != c.TTL {
				not = append(not, r.shows())
			}
			if r.value != c.Value && r.value != before[r.line] {
				strange = append(strange, r.shows())
			}
		}
		switch {
		case err == nil && len(strange) > 0:
			return fmt.Errorf("%w: it was accepted, and then line %s: somebody else changed it", ErrPartial, strings.Join(strange, "; line "))
		case err == nil && len(s.other)+len(s.replaced) > 0:
			return fmt.Errorf("%w: it was accepted, and then: %s", ErrPartial, strings.Join(append(s.other, s.replaced...), "; "))
		case err == nil && len(not) == 0 && len(s.lines) > 0:
			return nil
		case err == nil:
			err = fmt.Errorf("%w: it was accepted, but line %s", ErrUnstable, strings.Join(not, "; line "))
		case last != nil && (ctx.Err() != nil || errors.Is(err, ErrNotSent)):
			err = last // there was no time for another look
		}
		last = err
		if sleep(ctx, p.pause(n)) != nil {
			return fmt.Errorf("%w: read back: %w", ErrPartial, err)
		}
	}
}
