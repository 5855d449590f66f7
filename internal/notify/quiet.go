package notify

import "time"

// hushed returns the end of the quiet hours in which a parcel would go, or zero:
// what wants somebody goes at any hour.
func (o *outbox) hushed(p *parcel, now time.Time) (until time.Time) {
	if p.urgent {
		return until
	}
	for _, w := range o.hours[p.channel] {
		if _, to, ok := w.At(now); ok && to.After(until) {
			until = to
		}
	}
	return until
}

// hush makes an entry wait for the end of quiet hours, or no longer for it when
// that is now. What it waits so does not age it, what it does not wait does:
// what fails by day is too old in the end, however many nights lie between.
func (e *entry) hush(until, now time.Time) {
	from := now
	if e.free.After(now) {
		from = e.free // so far it was to wait
	}
	e.queued = e.queued.Add(until.Sub(from))
	e.due, e.free = until, until
}
