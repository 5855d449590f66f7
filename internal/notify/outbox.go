package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// Bounds of the outbox.
const (
	maxEntries   = 5_000    // messages that wait, over all channels
	maxDocuments = 64 << 20 // bytes of documents that wait
	maxDigest    = 20       // messages in one digest
	maxIncidents = 20_000   // open at once
)

// entry is one message on its way through one channel.
type entry struct {
	seq     int64 // order of arrival
	channel string
	msg     *Message
	queued  time.Time // later by what it waits and waited in quiet hours: its age is without them
	due     time.Time // not before
	free    time.Time // the end of the quiet hours that it waits or waited for; zero: none since the start
	held    bool      // a later step of its route: it goes only if nobody acknowledges
	tries   int
	refused int
	first   time.Time // refusal since the start of the process; zero: none
	pin     string    // the parcel that it was first tried in; empty: not tried
}

// parcel is what goes through a channel in one call: a message, or a digest of
// those of one incident that waited. Its ID is the same over every try.
type parcel struct {
	id      string
	channel string
	msgs    []*Message // oldest first
	seqs    []int64
	urgent  bool
	tries   int
	began   time.Time // when its place in the rate was taken
}

// document of a parcel, nil when it is none.
func (p *parcel) document() *Document { return p.msgs[0].Document }

// newest is the message that says how things stand.
func (p *parcel) newest() *Message { return p.msgs[len(p.msgs)-1] }

// dropReason says why something was not delivered.
type dropReason string

const (
	dropQueue   dropReason = "queue"   // more came than the disk took
	dropFull    dropReason = "full"    // the outbox was full
	dropAge     dropReason = "age"     // it waited too long
	dropRefused dropReason = "refused" // the receiver refuses it
)

var dropReasons = []dropReason{dropQueue, dropFull, dropAge, dropRefused}

// ChannelStats is what a channel has done since the start.
type ChannelStats struct {
	Channel   string
	Type      Type
	Sent      uint64
	Failed    uint64 // tries
	Throttled uint64 // tries that the receiver answered with "later"
	Dropped   map[string]uint64
	Waiting   int
	Oldest    time.Time // of what waits and is due; zero: nothing
	LastError string    // of the newest try; empty: it went well
}

// outbox is everything that waits, in memory and on the disk. Every change is
// on the disk before the method returns, unless the disk is in trouble: then
// it goes on in memory, and Trouble says so.
type outbox struct {
	disk *disk // nil: in memory alone
	keep time.Duration

	mu        sync.Mutex
	seq       int64
	entries   []*entry // by seq
	incidents map[failover.InstanceName]*incident
	rates     map[string]*rate
	quiet     map[string]time.Time         // receivers that want no more until then
	hours     map[string][]failover.Window // quiet hours of the config
	stats     map[string]*ChannelStats
	docBytes  int
	trouble   error
	dirty     bool // the disk lacks something that the memory has

	lost  sync.Mutex        // never held during I/O
	early map[string]uint64 // messages that did not come so far, by channel
}

func newOutbox(d *disk, keep time.Duration) *outbox {
	return &outbox{
		disk: d, keep: keep, incidents: map[failover.InstanceName]*incident{}, rates: map[string]*rate{},
		quiet: map[string]time.Time{}, stats: map[string]*ChannelStats{},
	}
}

// fit takes the channels of a configuration. What was spent stays spent.
func (o *outbox) fit(s *Setup) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep = s.keep()
	o.hours = map[string][]failover.Window{}
	for _, c := range s.Channels {
		o.hours[c.Name] = c.Quiet
		if o.rates[c.Name] == nil {
			o.rates[c.Name] = &rate{}
		}
		o.rates[c.Name].limits = c.limits()
		o.statsOf(c.Name).Type = c.Type
	}
	// What waits for the end of quiet hours waits by the new ones.
	for _, e := range o.entries {
		if !e.free.IsZero() && e.due.Equal(e.free) {
			e.due = time.Time{}
		}
	}
}

func (o *outbox) statsOf(channel string) *ChannelStats {
	st := o.stats[channel]
	if st == nil {
		st = &ChannelStats{Channel: channel, Dropped: map[string]uint64{}}
		o.stats[channel] = st
	}
	return st
}

// put queues a message for the channels of its route.
func (o *outbox) put(s *Setup, m *Message, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tx := o.begin()
	inc := o.place(m, now, tx)
	if m.State == Resolve && inc == nil {
		return // nobody was told of anything
	}
	over := false
	if m.State == Resolve {
		over = inc.end(m.Kind)
		if m.Since.IsZero() {
			m.Since = inc.Opened
		}
	}
	steps := s.route(m)
	if m.State == Resolve {
		// Whoever heard of the incident hears of its end, whatever the route
		// of this kind.
		steps = nil
		for _, c := range inc.Told {
			steps = append(steps, Step{Channel: c})
		}
	}
	for _, st := range steps {
		c, ok := s.channel(st.Channel)
		if !ok || !m.urgent() && !c.Info || m.State == Info && st.After > 0 {
			continue
		}
		e := &entry{channel: c.Name, msg: m, queued: now, due: now}
		if m.State == Fire && st.After > 0 && !inc.after(e, st.After, now) {
			continue
		}
		if inc != nil && !e.held {
			inc.tell(c.Name)
		}
		o.add(e, now, tx)
	}
	if over {
		o.forgetHeld(m.Instance, tx)
		delete(o.incidents, m.Instance)
		tx.dropIncident(m.Instance)
	} else if inc != nil {
		tx.saveIncident(inc)
	}
	_ = o.commit(tx) // Trouble says why
}

// deliver queues a report. One that waits already is not queued again. An error
// says that it waits in memory only.
func (o *outbox) deliver(to []Channel, m *Message, now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	tx := o.begin()
	for _, c := range to {
		if !slices.ContainsFunc(o.entries, func(e *entry) bool { return e.channel == c.Name && e.msg.ID == m.ID }) {
			o.add(&entry{channel: c.Name, msg: m, queued: now, due: now}, now, tx)
		}
	}
	return o.commit(tx)
}

func (o *outbox) inTrouble() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.trouble
}

func (o *outbox) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.disk == nil {
		return nil
	}
	d := o.disk
	o.disk = nil
	return d.close()
}

// add queues an entry and makes room for it.
func (o *outbox) add(e *entry, now time.Time, tx *changes) {
	o.seq++
	e.seq = o.seq
	o.entries = append(o.entries, e)
	if d := e.msg.Document; d != nil {
		o.docBytes += d.size()
	}
	tx.addEntry(e)
	for len(o.entries) > maxEntries {
		o.drop(o.leastWanted(false), dropFull, tx)
	}
	for o.docBytes > maxDocuments {
		o.drop(o.leastWanted(true), dropFull, tx)
	}
}

// leastWanted is what goes when there is no room: the oldest that wants
// nobody, or else the oldest.
func (o *outbox) leastWanted(document bool) *entry {
	var oldest *entry
	for _, e := range o.entries {
		if document && e.msg.Document == nil {
			continue
		}
		if !e.msg.urgent() {
			return e
		}
		if oldest == nil {
			oldest = e
		}
	}
	return oldest
}

func (o *outbox) drop(e *entry, why dropReason, tx *changes) {
	o.statsOf(e.channel).Dropped[string(why)]++
	o.remove(e, tx)
}

func (o *outbox) remove(e *entry, tx *changes) {
	i := slices.Index(o.entries, e)
	if i < 0 {
		return
	}
	o.entries = slices.Delete(o.entries, i, i+1)
	if d := e.msg.Document; d != nil {
		o.docBytes -= d.size()
	}
	used := slices.ContainsFunc(o.entries, func(x *entry) bool { return x.msg == e.msg })
	tx.dropEntry(e, !used)
}

// droppedLater counts what never came so far, without waiting for the disk.
func (o *outbox) droppedLater(channels []string) {
	o.lost.Lock()
	defer o.lost.Unlock()
	if o.early == nil {
		o.early = map[string]uint64{}
	}
	for _, c := range channels {
		o.early[c]++
	}
}

// expire drops what waited too long.
func (o *outbox) expire(now time.Time, tx *changes) {
	for _, e := range slices.Clone(o.entries) {
		if now.Sub(e.queued) > o.keep {
			o.drop(e, dropAge, tx)
		}
	}
}

// next returns what may go through a channel now, or nil and how long to wait
// at most. The rate is asked before anything is pinned to what it will carry:
// news that wants nobody and finds no place stays open, and stands in the way
// of no change of state.
func (o *outbox) next(channel string, now time.Time) (*parcel, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tx := o.begin()
	defer func() { _ = o.commit(tx) }() // Trouble says why
	o.expire(now, tx)
	r := o.rates[channel]
	if r == nil {
		return nil, lookAgain
	}
	r.forget(now)
	if until := o.quiet[channel]; until.After(now) {
		return nil, min(until.Sub(now), lookAgain)
	}
	wait := lookAgain
	for _, p := range o.parcels(channel, now, &wait) {
		if until := o.hushed(p, now); !until.IsZero() {
			for _, e := range o.of(p) {
				e.hush(until, now)
				tx.saveEntry(e)
			}
			wait = min(wait, until.Sub(now))
			continue
		}
		for _, e := range o.of(p) {
			if e.free.After(now) { // the quiet hours that it waited for are no more
				e.hush(now, now)
				tx.saveEntry(e)
			}
		}
		if at := r.ready(now, p.urgent); at.After(now) {
			wait = min(wait, at.Sub(now))
			continue
		}
		o.take(p, r, now, tx)
		return p, 0
	}
	return nil, wait
}

// lookAgain is when a channel looks although nothing woke it.
const lookAgain = time.Minute

// parcels lists what is due, the urgent first, then by age.
func (o *outbox) parcels(channel string, now time.Time, wait *time.Duration) []*parcel {
	var out []*parcel
	open := map[string]*parcel{}
	for _, e := range o.entries {
		if e.channel != channel {
			continue
		}
		if e.due.After(now) {
			*wait = min(*wait, e.due.Sub(now))
			continue
		}
		key := "message " + e.msg.ID
		switch {
		case e.pin != "":
			key = "parcel " + e.pin
		case e.msg.Incident != "" && e.msg.Document == nil:
			key = "incident " + e.msg.Incident
		}
		p := open[key]
		if p == nil || e.pin == "" && len(p.msgs) >= maxDigest {
			p = &parcel{id: e.pin, channel: channel, tries: e.tries}
			open[key], out = p, append(out, p)
		}
		p.msgs, p.seqs = append(p.msgs, e.msg), append(p.seqs, e.seq)
		p.urgent = p.urgent || e.msg.urgent()
	}
	slices.SortStableFunc(out, func(a, b *parcel) int {
		switch {
		case a.urgent == b.urgent:
			return 0
		case a.urgent:
			return -1
		}
		return 1
	})
	return out
}

// take pins a parcel and takes its place in the rate.
func (o *outbox) take(p *parcel, r *rate, now time.Time, tx *changes) {
	if p.id == "" {
		p.id = digestID(p.msgs)
	}
	p.began = now
	r.spend(now)
	tx.saveChannel(p.channel, r.spent, o.quiet[p.channel])
	for _, e := range o.of(p) {
		e.pin = p.id
		tx.saveEntry(e)
		if inc := o.incidents[e.msg.Instance]; inc != nil && e.held && inc.ID == e.msg.Incident {
			inc.tell(e.channel)
			tx.saveIncident(inc)
		}
		e.held = false
	}
}

// digestID is that of the message, or of several one that follows from theirs.
func digestID(ms []*Message) string {
	if len(ms) == 1 {
		return ms[0].ID
	}
	var ids []string
	for _, m := range ms {
		ids = append(ids, m.ID)
	}
	sum := sha256.Sum256([]byte(strings.Join(ids, " ")))
	return hex.EncodeToString(sum[:idBytes])
}

func (o *outbox) of(p *parcel) []*entry {
	var out []*entry
	for _, e := range o.entries {
		if slices.Contains(p.seqs, e.seq) {
			out = append(out, e)
		}
	}
	return out
}

// done notes what became of a try, and says whether the parcel was given up.
func (o *outbox) done(p *parcel, err error, now time.Time) (gaveUp bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tx := o.begin()
	if r := o.rates[p.channel]; r != nil {
		r.finish(p.began, now)
	}
	st := o.statsOf(p.channel)
	st.LastError = ""
	if err != nil {
		st.LastError = err.Error()
	}
	if errors.As(err, new(*partly)) {
		err = nil
	}
	gaveUp = o.settle(p, err, now, st, tx)
	if r := o.rates[p.channel]; r != nil {
		tx.saveChannel(p.channel, r.spent, o.quiet[p.channel])
	}
	_ = o.commit(tx) // Trouble says why
	return gaveUp
}

func (o *outbox) settle(p *parcel, err error, now time.Time, st *ChannelStats, tx *changes) (gaveUp bool) {
	if err == nil {
		st.Sent++
		for _, e := range o.of(p) {
			if inc := o.incidentOf(e); inc != nil && inc.hear(e.channel) {
				tx.saveIncident(inc)
			}
			o.remove(e, tx)
		}
		return false
	}
	if t := (*throttled)(nil); errors.As(err, &t) {
		st.Throttled++
		o.quiet[p.channel] = now.Add(min(max(t.after, minThrottle), maxThrottle))
		return false
	}
	st.Failed++
	wait := retryIn(p.tries + 1)
	for _, e := range o.of(p) {
		e.tries++
		e.due = now.Add(wait)
		if errors.Is(err, errRefused) {
			e.refuse(now)
		}
		if e.hopeless(p.urgent, now) {
			gaveUp = true
			o.pass(e, now, tx)
			o.drop(e, dropRefused, tx)
			continue
		}
		tx.saveEntry(e)
	}
	return gaveUp
}

// refuse counts a refusal. The span of an urgent message begins anew after a
// restart, and when the clock was set back: it is tried longer then, not less.
func (e *entry) refuse(now time.Time) {
	e.refused++
	if e.first.IsZero() || e.first.After(now) {
		e.first = now
	}
}

// hopeless says whether an entry was refused often enough to give it up. A
// gateway that answers 400 for a few seconds, as while it is restarted, loses
// nothing that wants somebody.
func (e *entry) hopeless(urgent bool, now time.Time) bool {
	return e.refused >= maxRefusals && (!urgent || !e.first.IsZero() && now.Sub(e.first) >= refusedFor)
}

// tested counts a message past the outbox.
func (o *outbox) tested(channel string, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.statsOf(channel)
	if err == nil || errors.As(err, new(*partly)) {
		st.Sent++
		return
	}
	st.Failed++
	if t := (*throttled)(nil); errors.As(err, &t) {
		o.quiet[channel] = now.Add(min(max(t.after, minThrottle), maxThrottle))
	}
}

// spendNow takes an urgent place for a message past the outbox, or says from
// when there is one.
func (o *outbox) spendNow(channel string, now time.Time) (from time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rates[channel]
	if r == nil {
		return now, false
	}
	r.forget(now)
	if at := r.ready(now, true); at.After(now) {
		return at, false
	}
	if until := o.quiet[channel]; until.After(now) {
		return until, false
	}
	r.spend(now)
	tx := o.begin()
	tx.saveChannel(channel, r.spent, o.quiet[channel])
	_ = o.commit(tx) // Trouble says why
	return now, true
}

// snapshot lists the counters of these channels.
func (o *outbox) snapshot(channels []Channel, now time.Time) []ChannelStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []ChannelStats
	for _, c := range channels {
		st := *o.statsOf(c.Name)
		st.Dropped = map[string]uint64{}
		for _, why := range dropReasons {
			st.Dropped[string(why)] = o.stats[c.Name].Dropped[string(why)]
		}
		o.lost.Lock()
		st.Dropped[string(dropQueue)] += o.early[c.Name]
		o.lost.Unlock()
		for _, e := range o.entries {
			if e.channel != c.Name || e.held {
				continue
			}
			st.Waiting++
			if e.free.After(now) {
				continue // for the end of quiet hours: nobody is late with it
			}
			if st.Oldest.IsZero() || e.queued.Before(st.Oldest) {
				st.Oldest = e.queued
			}
		}
		out = append(out, st)
	}
	return out
}
