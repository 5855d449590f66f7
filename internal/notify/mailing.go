package notify

import (
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"sync"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// partly: somebody got the message, and the receiver refuses the others for
// good. It counts as sent; the words name who got nothing.
type partly struct{ why error }

func (p *partly) Error() string { return "not everybody got it: " + p.why.Error() }
func (p *partly) Unwrap() error { return p.why }

// received remembers who has taken a message whose other recipients are asked
// again: greylisting of one mailbox repeats nothing to the others. After a
// restart, or with too many at once, it does: once too often is better than
// never.
type received struct {
	mu sync.Mutex
	by map[string][]string // recipients by ID of the parcel
}

// maxReceived is how many parcels are remembered at once.
const maxReceived = 256

func (r *received) of(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.by[id])
}

func (r *received) note(id string, who []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil || len(r.by) >= maxReceived {
		r.by = map[string][]string{}
	}
	r.by[id] = append(r.by[id], who...)
}

func (r *received) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.by, id)
}

// transact carries one message to everybody whom the server takes, in one
// transaction of RFC 5321 section 3.3: a recipient that is refused does not end
// it. The library's own Send gives the whole message up at the first refusal.
func (p *postman) transact(c *smtp.Client, m *gomail.Msg, id string) error {
	from, err := m.GetSender(false)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	all, err := m.GetRecipients()
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err := c.Mail(from); err != nil {
		return refusal(err)
	}
	before := p.received.of(id)
	var took []string
	var never, later []error
	for _, to := range all {
		if slices.Contains(before, to) {
			continue
		}
		err := c.Rcpt(to)
		var said *textproto.Error
		switch {
		case err == nil:
			took = append(took, to)
		case !errors.As(err, &said):
			return err // the connection is gone
		case errors.Is(refusal(err), errRefused):
			never = append(never, fmt.Errorf("%s: %w", strings.Trim(to, "<>"), err))
		default:
			later = append(later, fmt.Errorf("%s: %w", strings.Trim(to, "<>"), err))
		}
	}
	if len(took) > 0 {
		if err := data(c, m); err != nil {
			return refusal(err)
		}
	}
	switch {
	case len(later) > 0:
		p.received.note(id, took)
		return asOne(append(later, never...))
	case len(never) == 0:
	case len(took)+len(before) == 0:
		return fmt.Errorf("%w: %w", errRefused, asOne(never))
	default:
		p.received.forget(id)
		return &partly{asOne(never)}
	}
	p.received.forget(id)
	return nil
}

func data(c *smtp.Client, m *gomail.Msg) error {
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := m.WriteTo(w); err != nil {
		return err // the connection is hung up without the end of the data
	}
	return w.Close()
}

// asOne joins errors in one line.
func asOne(errs []error) error {
	var words []string
	for _, e := range errs {
		words = append(words, e.Error())
	}
	return errors.New(strings.Join(words, "; "))
}

// refusal marks the replies after which no further try helps. The others, above
// all 421 and 450 to 452, mean: later (RFC 5321 section 4.2.3).
func refusal(err error) error {
	if said := (*textproto.Error)(nil); errors.As(err, &said) {
		switch said.Code {
		case 550, 552, 553, 554:
			return fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	return err
}
