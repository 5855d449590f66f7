package notify

import (
	"encoding/json"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// changes is one transaction of the outbox, gathered before it is written: the
// statements of a change stand together, whatever else it does in memory.
type changes struct {
	disk *disk // nil: none are wanted
	do   []statement
}

type statement struct {
	sql  string
	args []any
}

func (o *outbox) begin() *changes { return &changes{disk: o.disk} }

// commit writes the transaction. A disk that refuses it costs durability, and
// no message: from then on the file lacks something, and the next transaction
// that it takes is everything that is in memory. Until then the outbox is in
// trouble, and commit returns why.
func (o *outbox) commit(tx *changes) error {
	if tx.disk == nil {
		return o.trouble
	}
	do := tx.do
	if o.dirty {
		do = o.whole()
	}
	if len(do) == 0 {
		return nil
	}
	o.trouble = tx.disk.write(do)
	o.dirty = o.trouble != nil
	return o.trouble
}

// whole is the transaction that makes the file what the memory is.
func (o *outbox) whole() []statement {
	tx := o.begin()
	for _, table := range []string{"messages", "entries", "incidents", "channels"} {
		tx.add("DELETE FROM " + table)
	}
	for _, e := range o.entries {
		tx.addEntry(e)
	}
	for _, i := range o.incidents {
		tx.saveIncident(i)
	}
	for channel, r := range o.rates {
		tx.saveChannel(channel, r.spent, o.quiet[channel])
	}
	return tx.do
}

func (t *changes) add(sql string, args ...any) {
	if t.disk != nil {
		t.do = append(t.do, statement{sql, args})
	}
}

func (t *changes) addEntry(e *entry) {
	if t.disk == nil {
		return
	}
	body, err := json.Marshal(e.msg)
	if err != nil {
		return // of strings and times: it cannot be
	}
	var doc []byte
	if e.msg.Document != nil {
		doc, _ = json.Marshal(e.msg.Document)
	}
	t.add("INSERT OR IGNORE INTO messages (id, body, document) VALUES (?, ?, ?)", e.msg.ID, body, doc)
	t.saveEntry(e)
}

func (t *changes) saveEntry(e *entry) {
	t.add("INSERT OR REPLACE INTO entries (seq, channel, message, queued, due, held, tries, refused, pin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		e.seq, e.channel, e.msg.ID, e.queued.UnixMilli(), e.due.UnixMilli(), e.held, e.tries, e.refused, e.pin)
}

func (t *changes) dropEntry(e *entry, message bool) {
	t.add("DELETE FROM entries WHERE seq = ?", e.seq)
	if message {
		t.add("DELETE FROM messages WHERE id = ?", e.msg.ID)
	}
}

func (t *changes) saveIncident(i *incident) {
	body, err := json.Marshal(i)
	if err == nil {
		t.add("INSERT OR REPLACE INTO incidents (instance, body) VALUES (?, ?)", string(i.Instance), body)
	}
}

func (t *changes) dropIncident(i failover.InstanceName) {
	t.add("DELETE FROM incidents WHERE instance = ?", string(i))
}

func (t *changes) saveChannel(channel string, spent []time.Time, quiet time.Time) {
	var ms []int64
	for _, s := range spent {
		ms = append(ms, s.UnixMilli())
	}
	body, err := json.Marshal(channelState{ms, quiet})
	if err == nil {
		t.add("INSERT OR REPLACE INTO channels (channel, body) VALUES (?, ?)", channel, body)
	}
}

// channelState is what a restart must not forget of a channel: it gives no
// place back, and does not knock where it was told to wait.
type channelState struct {
	Spent []int64   `json:"spent"` // milliseconds since 1970
	Quiet time.Time `json:"quiet,omitzero"`
}

// sweep removes rows from the disk that restore could not use.
func (o *outbox) sweep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	tx := o.begin()
	if tx.disk == nil {
		return
	}
	var keep []string
	for _, e := range o.entries {
		keep = append(keep, e.msg.ID)
	}
	list, err := json.Marshal(append(keep, ""))
	if err != nil {
		return
	}
	tx.add("DELETE FROM messages WHERE id NOT IN (SELECT value FROM json_each(?))", string(list))
	tx.add("DELETE FROM entries WHERE message NOT IN (SELECT id FROM messages)")
	_ = o.commit(tx) // Trouble says why
}

// restore fills the outbox from what the disk holds. Rows that nobody can read
// are dropped there, and their number is returned.
func (o *outbox) restore(rows rowsOf) (unread int) {
	msgs := map[string]*Message{}
	for _, r := range rows.messages {
		m := &Message{}
		if json.Unmarshal(r.body, m) != nil || m.ID != r.id {
			unread++
			continue
		}
		*m = m.bound()
		if r.document != nil {
			if m.Document = (&Document{}); json.Unmarshal(r.document, m.Document) != nil {
				unread++
				continue
			}
		}
		msgs[r.id] = m
	}
	for _, e := range rows.entries {
		if e.msg = msgs[e.message]; e.msg == nil {
			unread++
			continue
		}
		o.entries = append(o.entries, &e.entry)
		o.seq = max(o.seq, e.seq)
		if d := e.msg.Document; d != nil {
			o.docBytes += d.size()
		}
	}
	slices.SortFunc(o.entries, func(a, b *entry) int { return int(a.seq - b.seq) })
	for _, body := range rows.incidents {
		i := &incident{}
		if json.Unmarshal(body, i) != nil || i.Instance == "" || i.ID == "" {
			unread++
			continue
		}
		o.incidents[i.Instance] = i
	}
	for channel, body := range rows.channels {
		var c channelState
		if json.Unmarshal(body, &c) != nil {
			unread++
			continue
		}
		r := &rate{}
		for _, ms := range c.Spent {
			r.spent = append(r.spent, time.UnixMilli(ms))
		}
		slices.SortFunc(r.spent, time.Time.Compare)
		o.rates[channel], o.quiet[channel] = r, c.Quiet
	}
	return unread
}

// clamp takes what was written by a clock that was ahead for as late as it can
// be: nothing waits longer than it would have waited had it come just now.
func (o *outbox) clamp(s *Setup, now time.Time) {
	for channel, until := range o.quiet {
		o.quiet[channel] = earlier(until, now.Add(maxThrottle))
	}
	for _, i := range o.incidents {
		i.Opened, i.Since = earlier(i.Opened, now), earlier(i.Since, now)
	}
	for _, e := range o.entries {
		most := lastRetry * 3 / 2 // see retryIn
		if e.held {
			most = min(max(e.due.Sub(e.queued), 0), s.keep())
			for _, st := range s.route(e.msg) {
				if st.Channel == e.channel {
					most = min(most, st.After)
				}
			}
		} else if !e.msg.urgent() && e.due.After(now) && (e.tries == 0 || e.due.After(now.Add(most))) {
			// No try is so far away: it waits for the end of quiet hours, and is looked at by those of now.
			e.free = e.due
			e.hush(now, now)
		}
		e.due, e.queued = earlier(e.due, now.Add(most)), earlier(e.queued, now)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
