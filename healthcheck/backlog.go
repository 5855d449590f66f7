package healthcheck

import (
	linked "container/list"

	"pointsman/internal/failover"
)

// backlog is what waits for one controller: the newest report of each instance
// and no more, so that one which is slow or dead costs no more memory than the
// instances there are. Votes that have changed go first, in the order in which
// they changed; whatever else waits keeps a part of each message, so that
// nothing grows stale because others change all the time. Every step costs the
// same, however much waits: the scheduler takes them.
type backlog struct {
	places map[failover.InstanceName]*linked.Element // of *parcel
	news   *linked.List                              // votes that have changed
	rest   *linked.List
}

// parcel is a report on its way.
type parcel struct {
	report InstanceReport
	news   bool
}

const (
	// restShare is the part of a message that what is no news may claim.
	restShare = 4
	// maxLoad is the most that a message may weigh, in bytes, below what a
	// receiver takes.
	maxLoad = 960 << 10
)

func newBacklog() backlog {
	return backlog{map[failover.InstanceName]*linked.Element{}, linked.New(), linked.New()}
}

// put takes a report in place of an older one of the same instance.
func (b *backlog) put(r InstanceReport) {
	if e := b.places[r.Instance]; e != nil {
		e.Value.(*parcel).report = r
		return
	}
	b.places[r.Instance] = b.rest.PushBack(&parcel{report: r})
}

// hurry puts an instance before all that waits without news.
func (b *backlog) hurry(i failover.InstanceName) {
	e := b.places[i]
	if e == nil || e.Value.(*parcel).news {
		return
	}
	p := b.rest.Remove(e).(*parcel)
	p.news = true
	b.places[i] = b.news.PushBack(p)
}

// take removes what goes into the next message.
func (b *backlog) take() (batch []parcel) {
	load := 0
	from := func(l *linked.List, limit int) {
		for len(batch) < limit && l.Len() > 0 {
			p := l.Front().Value.(*parcel)
			if load += p.report.weight(); load > maxLoad && len(batch) > 0 {
				return
			}
			l.Remove(l.Front())
			delete(b.places, p.report.Instance)
			batch = append(batch, *p)
		}
	}
	from(b.news, maxBatch-min(b.rest.Len(), maxBatch/restShare))
	from(b.rest, maxBatch)
	return batch
}

// putBack returns what could not be sent, to the end, so that no message that is
// refused again and again stands before others. A newer report that waits stays,
// and is news if the older one was.
func (b *backlog) putBack(batch []parcel) {
	for _, p := range batch {
		if b.places[p.report.Instance] == nil {
			b.put(p.report)
		}
		if p.news {
			b.hurry(p.report.Instance)
		}
	}
}

// weight is the most bytes that the report takes in a message.
func (r *InstanceReport) weight() int {
	const (
		fixed   = 768 // names, numbers and ages, of a report or one of its clusters
		escaped = 6   // a byte of text, as \u003c
	)
	n := fixed + escaped*(len(r.Instance)+len(r.Sick))
	for _, c := range r.Clusters {
		n += fixed + escaped*(len(c.Cluster)+len(c.Reason))
		for _, w := range c.Warnings {
			n += escaped*len(w) + 3
		}
	}
	return n
}
