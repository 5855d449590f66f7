package main

import (
	"context"
	"errors"

	"pointsman/internal/notify"
	reporting "pointsman/internal/report" // report prints errors here
)

// delivered hands health reports to the channels.
type delivered struct{ p *process }

var errNoChannels = errors.New("there are no channels")

// Deliver queues the report; see [notify.Notifier.Deliver].
func (d delivered) Deliver(ctx context.Context, channels []string, doc reporting.Document) error {
	if d.p.notices == nil {
		return errNoChannels
	}
	out := notify.Document{ID: doc.ID, Title: doc.Title, Summary: doc.Summary, Markdown: doc.Markdown, HTML: doc.HTML, JSON: doc.JSON}
	for _, i := range doc.PNGs {
		out.PNGs = append(out.PNGs, notify.Image(i))
	}
	err := d.p.notices.n.Deliver(ctx, channels, out)
	if errors.Is(err, notify.ErrInMemory) {
		// It goes out all the same, and is kept beside: made again it would go twice.
		d.p.log.Warn("a restart now would lose a report that is to be delivered", "report", doc.ID, "reason", err)
		return nil
	}
	return err
}
