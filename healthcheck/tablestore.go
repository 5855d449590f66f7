package healthcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/failover"
)

// TablestoreCheck writes a row of our own into a table of our own and reads it
// back, through the vendor's SDK and under the clients' name: the deep look.
// Beside the rounds the front end is asked without any key whether it is
// there: the cheap look, see FrontEvery. Only the deep look is counted.
//
// Each round uses the next of four partition keys. When one of them fails in
// the way in which a partition does that is moved, the other three are tried
// at once: it alone is a warning, two of four are a miss.
type TablestoreCheck struct {
	Scheme string `json:"scheme,omitempty"` // https (default) or http
	Table  string `json:"table,omitempty"`  // of the rows; default pointsman_canary

	// ServiceKey is the probes' own access key. It must stay allowed when the
	// cluster is closed to clients.
	ServiceKey KeyFile `json:"service_key,omitempty"`
	// ClientKey may do what the clients' keys may. It writes, too, and what
	// becomes of that tells whether the cluster is closed; it never votes.
	ClientKey KeyFile `json:"client_key,omitempty"`
	// Denial is how the message of a refusal by the cluster's own policy looks
	// (RE2); empty: any answer that says that a known key may not.
	Denial string `json:"denial,omitempty"`

	// FrontEvery is the time between two cheap looks and FrontTimeout what each
	// may take; with 0 there are none. Like a held connection they start probes
	// and never vote, so they are no part of the generation.
	FrontEvery   time.Duration `json:"-"`
	FrontTimeout time.Duration `json:"-"`
}

const (
	SchemeHTTPS = "https"
	SchemeHTTP  = "http"

	// CanaryTable is the table of the probes' own rows.
	CanaryTable = "pointsman_canary"
	// IdentityPrefix and the identity of a cluster make the name of the table
	// that exists only there.
	IdentityPrefix = "pointsman_is_"

	// DefaultFrontEvery and DefaultFrontTimeout are those of the cheap look.
	DefaultFrontEvery   = time.Second
	DefaultFrontTimeout = 800 * time.Millisecond
)

// The schema of the table: two columns of the primary key, both strings, and
// one attribute.
const (
	CanaryPart  = "part"  // the partition key, one of CanaryParts
	CanaryWho   = "who"   // instance, vantage and cluster
	canaryValue = "value" // the stamp of the newest write
)

// CanaryParts are the partition keys. They lie apart, so that a table which was
// split has them in different partitions.
var CanaryParts = [4]string{"0", "4", "8", "c"}

// Place is where a Tablestore cluster is, in the vendor's words.
type Place struct {
	Instance string `json:"instance,omitempty"` // goes into the signed header of every request
	Region   string `json:"region,omitempty"`
}

var (
	tableName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
	instanceName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{1,14}[A-Za-z0-9]$`)
)

// IsTablestoreInstance says whether an instance may be called so.
func IsTablestoreInstance(name string) bool { return instanceName.MatchString(name) }

// IsTablestoreTable says whether a table may be called so.
func IsTablestoreTable(name string) bool { return tableName.MatchString(name) }

func (c TablestoreCheck) validate(f *faults) {
	if c.Scheme != "" && c.Scheme != SchemeHTTP && c.Scheme != SchemeHTTPS {
		f.add("tablestore.scheme", "what the clients use", "%q is neither https nor http", clean(c.Scheme, 16))
	}
	if c.Table != "" && !tableName.MatchString(c.Table) {
		f.add("tablestore.table", "letters, digits and '_'", "%q is no name of a table", clean(c.Table, 64))
	}
	if c.ServiceKey == "" {
		f.add("tablestore.service_key_file", "the path of a file of mode 0600: JSON with AccessKeyId and AccessKeySecret", "is missing")
	}
	f.pattern("tablestore.denial", c.Denial)
	if c.FrontEvery < 0 {
		f.add("tablestore.front_every", "0s switches it off", "%s is negative", c.FrontEvery)
	}
	if c.FrontEvery > 0 && (c.FrontTimeout <= 0 || c.FrontTimeout > c.FrontEvery) {
		f.add("tablestore.front_timeout", "", "%s must be above 0 and at most front_every %s", c.FrontTimeout, c.FrontEvery)
	}
}

func (c TablestoreCheck) withDefaults() TablestoreCheck {
	c.Scheme = cmp.Or(c.Scheme, SchemeHTTPS)
	c.Table = cmp.Or(c.Table, CanaryTable)
	return c
}

// validate is what a target with such a check needs besides.
func (t Target) validateTablestore(f *faults) {
	if !IsTablestoreInstance(t.Place.Instance) {
		f.add("place.instance", "the name that the clients' SDK is given, 3 to 16 letters, digits and '-'", "%q is no name of a Tablestore instance", clean(t.Place.Instance, 32))
	}
	prefix := t.Check.Identity.Table
	if !tableName.MatchString(prefix) {
		return
	}
	if name := prefix + t.Identity; t.Identity != "" && !tableName.MatchString(name) {
		f.add("identity", "letters, digits and '_'", "%q is no name of a table", clean(name, 64))
	}
	if t.Other == "" || t.Other == t.Identity {
		f.add("other", "", "it is not said which table is the other cluster's")
	}
}

// canary is the deep look at one cluster.
type canary struct {
	dial   *dialer
	shake  *shaker // nil without TLS
	front  *front
	target Target
	who    string // second column of the key

	service, client *keyHolder // client may be nil
	denial          *regexp.Regexp

	turn atomic.Uint64

	mu       sync.Mutex
	parts    [len(CanaryParts)]error // of each key's newest try, where it failed alone
	accepted map[string]bool         // keys, by ID, whose write was accepted from here
}

func newCanary(d *dialer, t Target, c ProbeConfig) (*canary, error) {
	k := &canary{
		dial: d, front: newFront(d, t, c), target: t,
		who:      fmt.Sprintf("%s/%s/%s", t.Instance, c.Vantage, t.Cluster),
		service:  &keyHolder{path: t.Check.Tablestore.ServiceKey, read: c.ReadKey},
		accepted: map[string]bool{},
	}
	if t.Check.isTLS() {
		k.shake = newShaker(t)
	}
	if f := t.Check.Tablestore.ClientKey; f != "" {
		k.client = &keyHolder{path: f, read: c.ReadKey}
	}
	if expr := t.Check.Tablestore.Denial; expr != "" {
		var err error
		if k.denial, err = regexp.Compile(expr); err != nil {
			return nil, fmt.Errorf("check.tablestore.denial: %w", err)
		}
	}
	return k, nil
}

// probe is one round.
func (k *canary) probe(ctx context.Context) error {
	tr := traceOf(ctx)
	key, err := k.service.get()
	if err != nil {
		// Without a key there is still the cheap look: it tells a dead cluster.
		if dead := k.front.look(ctx, tr); dead != nil {
			return dead
		}
		tr.Phase = PhaseConnect
		return faulty(failover.FaultSetup, fmt.Errorf("service key: %w", err))
	}
	line := k.line(ctx, tr)
	defer line.hangUp()
	err = k.write(ctx, line, key, tr)
	if err == nil {
		k.identify(line, key, tr)
		err = line.wrong
	}
	k.asClient(line, tr, err)
	if err != nil {
		return k.denied(err, key)
	}
	tr.Phase = PhaseDone
	return nil
}

// write does the canary of this round and says what it means.
func (k *canary) write(ctx context.Context, line *tableLine, key AccessKey, tr *Trace) error {
	part := int((k.turn.Add(1) - 1) % uint64(len(CanaryParts)))
	tr.Canary = failover.CanaryBad
	if err := line.connect(); err != nil {
		return err
	}
	line.share(2) // the rest is for the other partitions
	err := k.once(line, key, part)
	line.share(1)
	switch means := meaningOf(err); {
	case err == nil:
		k.note(part, nil)
		tr.Canary = failover.CanaryOK
	case means == meansThrottled:
		tr.warn("throttled: %v", err)
	case means == meansPartition || isTimeout(err):
		if err := k.others(ctx, line, key, part, err); err != nil {
			return err
		}
		tr.Canary = failover.CanaryOK
	default:
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accepted[key.ID] = k.accepted[key.ID] || tr.Canary == failover.CanaryOK
	for i, err := range k.parts {
		if err != nil {
			tr.warn("partition key %q of %d: %v", CanaryParts[i], len(CanaryParts), err)
		}
	}
	return nil
}

func (k *canary) note(part int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parts[part] = err
}

// others tries the other partition keys at once, each over a connection of its
// own, after one of them failed: is it alone?
func (k *canary) others(ctx context.Context, line *tableLine, key AccessKey, part int, first error) error {
	var errs [len(CanaryParts)]error
	var traces [len(CanaryParts)]Trace
	errs[part] = first
	var wg sync.WaitGroup
	for i := range CanaryParts {
		if i == part {
			continue
		}
		wg.Go(func() {
			errs[i] = guarded(ctx, func(ctx context.Context) error {
				other := k.line(ctx, &traces[i])
				defer other.hangUp()
				return k.once(other, key, i)
			})
		})
	}
	wg.Wait()
	for _, tr := range traces {
		line.tr.Units.add(tr.Units)
	}
	bad, own := 0, error(nil)
	for i, err := range errs {
		switch means := meaningOf(err); {
		case err == nil:
		case means == meansThrottled: // a partition that throttles is there
			errs[i] = nil
		case isOwn(err):
			own = err
		default:
			bad++
		}
	}
	switch {
	case bad > 1:
		return fmt.Errorf("%d of %d partition keys fail, %q: %w", bad, len(CanaryParts), CanaryParts[part], first)
	case own != nil:
		return own
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parts = errs
	return nil
}

// stamp is what a probe writes, another one each time.
type stamp struct {
	boot string // of this process
	seq  uint64
}

var (
	thisBoot = sync.OnceValue(func() string { return newNonce()[:16] })
	stamps   atomic.Uint64
)

func newStamp() stamp { return stamp{thisBoot(), stamps.Add(1)} }

func (s stamp) String() string { return fmt.Sprintf("boot=%s seq=%d", s.boot, s.seq) }

func parseStamp(text string) (s stamp, ok bool) {
	n, err := fmt.Sscanf(text, "boot=%s seq=%d", &s.boot, &s.seq)
	return s, n == 2 && err == nil
}

var (
	errLost    = errors.New("a write that was acknowledged is not there")
	errStale   = errors.New("reads back an older value than was written")
	errForeign = errors.New("somebody else writes our row")
)

// readBack compares what was read with what was written just before.
func readBack(wrote stamp, read string, found bool) error {
	got, ok := parseStamp(read)
	switch {
	case !found:
		return errLost
	case ok && got == wrote, ok && got.boot == wrote.boot && got.seq > wrote.seq:
		return nil // a later one of ours overtook it: a burst overlaps
	case ok && got.boot == wrote.boot:
		return errStale
	case ok:
		return Own(fmt.Errorf("%w: two processes are this vantage, or one has just ended", errForeign))
	}
	return faulty(failover.FaultSetup, fmt.Errorf("%w: it holds %s", errForeign, quote(read)))
}

// once writes the row of one partition key and reads it back.
func (k *canary) once(line *tableLine, key AccessKey, part int) error {
	row, wrote := k.row(part, k.who), newStamp()
	line.tr.Phase = PhaseWrite
	if err := line.put(key, k.target.Check.Tablestore.Table, row, wrote); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	line.tr.Phase = PhaseRead
	value, found, err := line.get(key, k.target.Check.Tablestore.Table, row)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if err := readBack(wrote, value, found); err != nil {
		return fmt.Errorf("get: %w", err)
	}
	return nil
}

func (k *canary) row(part int, who string) *tablestore.PrimaryKey {
	row := new(tablestore.PrimaryKey)
	row.AddPrimaryKeyColumn(CanaryPart, CanaryParts[part])
	row.AddPrimaryKeyColumn(CanaryWho, who)
	return row
}

// identify asks for the table that is only here, and for the one that is only
// at the other cluster.
func (k *canary) identify(line *tableLine, key AccessKey, tr *Trace) {
	prefix := k.target.Check.Identity.Table
	if prefix == "" {
		return
	}
	tr.Phase = PhaseIdentity
	own, other := prefix+k.target.Identity, prefix+k.target.Other
	var there [2]bool
	for i, table := range []string{own, other} {
		has, err := line.exists(key, table, k.row(0, k.who))
		if err != nil {
			tr.warn("which cluster it is was not seen: %s: %v", table, err)
			return
		}
		there[i] = has
	}
	tr.Identity, line.wrong = whoAnswers(there[0], there[1], own, other)
}

// whoAnswers says what the two tables mean. A cluster that has neither, or
// both, is not taken for the other one: a table that somebody dropped must move
// nobody.
func whoAnswers(hasOwn, hasOther bool, own, other string) (proved bool, err error) {
	switch {
	case hasOwn && !hasOther:
		return true, nil
	case !hasOwn && hasOther:
		return false, fmt.Errorf("%w: it has the table %s and not %s", ErrWrongCluster, other, own)
	case hasOwn:
		return false, faulty(failover.FaultSetup, fmt.Errorf("it has both tables, %s and %s: which cluster it is cannot be told", own, other))
	}
	return false, faulty(failover.FaultSetup, fmt.Errorf("it has none of the tables %s and %s: which cluster it is cannot be told", own, other))
}

// asClient writes with the clients' rights, unless it is known that nobody is
// there. It changes nothing of the vote.
func (k *canary) asClient(line *tableLine, tr *Trace, met error) {
	if k.client == nil {
		return
	}
	tr.Client, tr.ClientAt = failover.ClientSilent, time.Now()
	if _, answered := errors.AsType[serviceError](met); met != nil && !answered {
		return
	}
	key, err := k.client.get()
	if err == nil {
		err = line.put(key, k.target.Check.Tablestore.Table, k.row(0, k.who+"/client"), newStamp())
	}
	k.mu.Lock()
	before := k.accepted[key.ID]
	k.accepted[key.ID] = before || err == nil
	k.mu.Unlock()
	switch {
	case err == nil:
		tr.Client = failover.ClientAccepted
	case k.isDenial(err) && before:
		tr.Client = failover.ClientRefused
	case k.isDenial(err):
		tr.warn("client key: %v; no write of it was accepted from here yet, so it proves nothing", err)
	default:
		tr.warn("client key: %v", err)
	}
}

// isDenial says that the cluster refuses a key that it knows.
func (k *canary) isDenial(err error) bool {
	e, ok := errors.AsType[serviceError](err)
	if !ok || e.class != failover.FaultDenied {
		return false
	}
	return k.denial == nil || k.denial.MatchString(e.message)
}

// denied explains a refusal of the service key: it was allowed before, so a
// policy closes the cluster to it.
func (k *canary) denied(err error, key AccessKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.isDenial(err) && k.accepted[key.ID] {
		return fmt.Errorf("closed to our own key, which must stay allowed: %w", err)
	}
	return err
}

// meaningOf is what an error says of the cluster.
func meaningOf(err error) answerMeaning {
	if e, ok := errors.AsType[serviceError](err); ok {
		return e.means
	}
	if isOwn(err) {
		return meansOwn
	}
	return meansMiss
}

// endpoint is what the SDK puts before each path: the clients' name, and the
// port where it is not the scheme's own.
func (t Target) endpoint() string {
	return t.Check.Tablestore.Scheme + "://" + strings.TrimSuffix(t.hostHeader(), "/")
}
