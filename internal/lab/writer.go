package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// Writer is an application of Tablestore: it writes numbered rows, one after
// the other, through the instance's name, and now and then reads back one of
// those that were acknowledged.
//
// It is the vendor's Go client as it comes (v1.9.3), with its pool of kept
// connections: the name is looked up when a connection is made, and at no
// other time. While one is alive the name can move as it likes. The settings
// are those of a careful user, see carefully.
//
// Everything that was acknowledged is remembered, 16 bytes a row. Safe for
// concurrent use.
type Writer struct {
	cfg  WriterConfig
	pool *pool

	mu      sync.Mutex
	client  *sdk.TableStoreClient
	log     []Entry
	acked   time.Time // the last acknowledgement; at first, when it all began
	ended   time.Time // when Run returned
	counts  WriterCounts
	longest time.Duration // between two acknowledgements
	last    Write
	tell    func(Write)
	wake    chan struct{}      // closed and made anew with every write
	turn    chan struct{}      // holds one while a write is under way, or none may begin
	pace    chan time.Duration // another Every

	hushing sync.Mutex
	hushed  bool
}

// WriterConfig says what is written, and where. Every field but Patience
// and Every must be given.
type WriterConfig struct {
	Server   netip.AddrPort // whom it asks for the address of its name
	Patience time.Duration  // for a look-up; 1 s by default
	Name     string         // what it calls, fully qualified
	Sites    []ClusterSite  // where each target serves, all at the same port
	Instance string         // goes into a header: the same at both clusters
	Key      TableKey
	Every    time.Duration // from one write to the next, at least; 25 ms by default
}

// TableKey is an access key of Tablestore.
type TableKey struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// The table that the Writer writes to: two key columns, of which the first
// spreads the rows over ten partition keys, and one column.
const (
	ordersTable    = "orders"
	ordersCustomer = "customer" // STRING
	ordersNumber   = "number"   // INTEGER
	ordersText     = "text"     // STRING
	ordersSpread   = 10
)

// readEvery is how many writes lie between two reads.
const readEvery = 10

// Entry is what the log has of one row; its number is its place, from 1.
type Entry struct {
	At int64 // when it was acknowledged or given up, in ns since 1970
	By uint8 // the cluster whose address acknowledged it, as its place in Sites from 1; 0 is none
	To uint8 // the one whose address it was last sent to, likewise
}

// Write is one write and what became of it.
type Write struct {
	N      int64
	At     time.Time // when it began
	Took   time.Duration
	By     string // the cluster whose address it was last sent to; empty if nobody was reached
	Tries  int    // of the client together
	Pooled bool   // the last try went over a connection that was there already
	Err    error
}

// Outcome says in few words how it ended; equal outcomes have equal words.
func (w Write) Outcome() string {
	switch {
	case w.Err != nil && w.By != "":
		return fmt.Sprintf("writes fail at %s: %s", w.By, w.Err)
	case w.Err != nil:
		return "writes fail: " + w.Err.Error()
	}
	return "writes go to " + w.By
}

// WriterCounts is what has been counted so far.
type WriterCounts struct {
	Written      int `json:"written"` // rows tried; each was acknowledged or is an error
	Acknowledged int `json:"acknowledged"`
	Again        int `json:"again"` // of those: by more than one try of the client, so perhaps done twice
	Errors       int `json:"errors"`
	Reads        int `json:"reads"`       // of rows that had been acknowledged
	Missed       int `json:"missed"`      // of those: the row was not there
	ReadErrors   int `json:"read_errors"` // of those: no answer
}

func (c WriterCounts) less(d WriterCounts) WriterCounts {
	return WriterCounts{
		c.Written - d.Written, c.Acknowledged - d.Acknowledged, c.Again - d.Again, c.Errors - d.Errors,
		c.Reads - d.Reads, c.Missed - d.Missed, c.ReadErrors - d.ReadErrors,
	}
}

// carefully returns what a careful user sets. A row takes milliseconds here,
// so that a second without an answer is no answer: the client's own 15 s for a
// connection and 30 s for a request would be how long a cluster that stands
// still keeps every caller, however fast the name moves. Tries and pauses
// between them are the client's own; what it does with them is in docs/lab.md.
func carefully() *sdk.TableStoreConfig {
	c := sdk.NewDefaultTableStoreConfig()
	c.HTTPTimeout = sdk.HTTPTimeout{ConnectionTimeout: time.Second, RequestTimeout: time.Second}
	c.MaxRetryTime = 2 * time.Second
	return c
}

// NewWriter returns one that has not begun.
func NewWriter(cfg WriterConfig) *Writer {
	cfg.Every = cmp.Or(cfg.Every, 25*time.Millisecond)
	cfg.Patience = cmp.Or(cfg.Patience, time.Second)
	w := &Writer{cfg: cfg, wake: make(chan struct{}), turn: make(chan struct{}, 1), pace: make(chan time.Duration, 1)}
	w.pool = &pool{
		look:  Client{Server: cfg.Server, Name: cfg.Name, Timeout: cfg.Patience},
		sites: cfg.Sites, open: map[net.Conn]string{},
	}
	w.Rebuild()
	return w
}

// Rebuild does what an application does that replaces its client: the next
// write looks the name up and connects anew.
func (w *Writer) Rebuild() {
	config := carefully()
	old := w.pool.renew(config)
	config.Transport = w.pool
	endpoint := fmt.Sprintf("http://%s:%d", strings.TrimSuffix(w.cfg.Name, "."), w.cfg.Sites[0].Addr.Port())
	c := sdk.NewClientWithConfig(endpoint, w.cfg.Instance, w.cfg.Key.ID, w.cfg.Key.Secret, "", config)
	w.mu.Lock()
	w.client = c
	w.mu.Unlock()
	if old != nil {
		old.CloseIdleConnections()
	}
}

// Run writes until the context ends. What is under way then is cut off.
func (w *Writer) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, w.pool.end)
	defer stop()
	defer w.end()
	w.mu.Lock()
	w.acked = time.Now()
	w.mu.Unlock()
	tick := time.NewTicker(w.cfg.Every)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case w.turn <- struct{}{}:
		}
		w.write(ctx, n)
		<-w.turn
		if n%readEvery == 0 {
			if one := w.anyRow(); one > 0 {
				w.read(ctx, one)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case every := <-w.pace:
			tick.Reset(every)
		case <-tick.C:
		}
	}
}

func (w *Writer) end() {
	w.pool.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = time.Now()
}

func orderKey(n int64) *sdk.PrimaryKey {
	key := new(sdk.PrimaryKey)
	key.AddPrimaryKeyColumn(ordersCustomer, customerOf(n))
	key.AddPrimaryKeyColumn(ordersNumber, n)
	return key
}

// customerOf spreads rows over the partition keys.
func customerOf(n int64) string { return fmt.Sprintf("c%d", n%ordersSpread) }

// orderText is what the row of that number says.
func orderText(n int64) string { return fmt.Sprintf("order %d", n) }

func (w *Writer) write(ctx context.Context, n int64) {
	w.mu.Lock()
	client := w.client
	w.mu.Unlock()
	row := &sdk.PutRowChange{TableName: ordersTable, PrimaryKey: orderKey(n)}
	row.AddColumn(ordersText, orderText(n))
	row.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	one := Write{N: n, At: time.Now()}
	w.pool.begin()
	_, err := client.PutRow(&sdk.PutRowRequest{PutRowChange: row})
	one.Took, one.Err = time.Since(one.At), said(err)
	one.By, one.Pooled, one.Tries = w.pool.last()
	if err != nil && ctx.Err() != nil {
		w.cutOff(one)
		return
	}
	w.note(one)
}

// cutOff puts the write into the log that was under way at the end. It is
// neither acknowledged nor an error, and may have been done.
func (w *Writer) cutOff(one Write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, Entry{At: time.Now().UnixNano(), To: w.place(one.By)})
}

// place is where a cluster stands among the sites, from 1; 0 is none.
func (w *Writer) place(cluster string) uint8 {
	for i, s := range w.cfg.Sites {
		if s.Name == cluster {
			return uint8(i + 1) //nolint:gosec // there are two
		}
	}
	return 0
}

// note puts a write into the log. Rows are written in turn, so that the place
// of each is its number.
func (w *Writer) note(one Write) {
	now := one.At.Add(one.Took)
	e := Entry{At: now.UnixNano(), To: w.place(one.By)}
	w.mu.Lock()
	w.counts.Written++
	if one.Err != nil {
		w.counts.Errors++
	} else {
		e.By = e.To
		w.counts.Acknowledged++
		if one.Tries > 1 {
			w.counts.Again++
		}
		w.longest = max(w.longest, now.Sub(w.acked))
		w.acked = now
	}
	w.log = append(w.log, e)
	w.last = one
	close(w.wake)
	w.wake = make(chan struct{})
	tell := w.tell
	w.mu.Unlock()
	if tell != nil {
		tell(one)
	}
}

// anyRow draws a row that has been acknowledged; 0 where the lot found none.
func (w *Writer) anyRow() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 20 {
		if len(w.log) == 0 {
			break
		}
		if i := rand.IntN(len(w.log)); w.log[i].By > 0 {
			return int64(i) + 1
		}
	}
	return 0
}

// read asks for a row that has been acknowledged.
func (w *Writer) read(ctx context.Context, n int64) {
	w.mu.Lock()
	client := w.client
	w.mu.Unlock()
	resp, err := client.GetRow(&sdk.GetRowRequest{SingleRowQueryCriteria: &sdk.SingleRowQueryCriteria{
		TableName: ordersTable, PrimaryKey: orderKey(n), MaxVersion: 1,
	}})
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Reads++
	switch {
	case err != nil:
		w.counts.ReadErrors++
	case len(resp.Columns) == 0:
		w.counts.Missed++
	}
}

// Hush waits for the write that is under way and lets no other begin, until
// Speak.
func (w *Writer) Hush(ctx context.Context) error {
	w.hushing.Lock()
	defer w.hushing.Unlock()
	if w.hushed {
		return nil
	}
	select {
	case w.turn <- struct{}{}:
		w.hushed = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Speak lets it write on, if it was hushed.
func (w *Writer) Speak() {
	w.hushing.Lock()
	defer w.hushing.Unlock()
	if w.hushed {
		w.hushed = false
		<-w.turn
	}
}

// Pace lets it write that often from now on; 0 is as at first. Of several that
// it has not heard of yet the last one counts.
func (w *Writer) Pace(every time.Duration) {
	select {
	case <-w.pace:
	default:
	}
	w.pace <- cmp.Or(every, w.cfg.Every)
}

// Hear lets somebody hear of every write from now on. It must be quick.
func (w *Writer) Hear(tell func(Write)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell = tell
}

// Ended says whether Run has returned.
func (w *Writer) Ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.ended.IsZero()
}

// Counts is what has been counted so far.
func (w *Writer) Counts() WriterCounts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// Pause is the longest time between two acknowledgements, the one that is
// going on included.
func (w *Writer) Pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.acked.IsZero() {
		return 0
	}
	now := w.ended
	if now.IsZero() {
		now = time.Now()
	}
	return max(w.longest, now.Sub(w.acked))
}

// Last is the last write that has ended.
func (w *Writer) Last() Write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// Log is everything that was written from a row on; 1 is the first.
func (w *Writer) Log(from int64) []Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	from = min(max(from, 1), int64(len(w.log))+1)
	return append([]Entry(nil), w.log[from-1:]...)
}

// Open is how many connections it holds to each cluster.
func (w *Writer) Open() map[string]int { return w.pool.count() }

// Until waits for a write, begun at or after since, that the condition
// accepts.
func (w *Writer) Until(ctx context.Context, since time.Time, want func(Write) bool) error {
	for {
		w.mu.Lock()
		last, wake := w.last, w.wake
		w.mu.Unlock()
		if last.N > 0 && !last.At.Before(since) && want(last) {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// said takes from an error of the client what a person wants to read: the code
// and the message of the service, or what the network did.
func said(err error) error {
	var ots *sdk.OtsError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ots):
		return fmt.Errorf("%s: %s", ots.Code, strings.TrimSuffix(ots.Message, "."))
	case strings.Contains(err.Error(), "Client.Timeout"): // net/http says it with a type that it keeps to itself
		return errors.New("does not answer in time")
	}
	var over *url.Error
	if errors.As(err, &over) {
		err = over.Err // without the URL, which is always the same
	}
	return plain(err)
}
