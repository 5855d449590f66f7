package healthcheck

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// lossError is the end of a held connection that asks for a nudge.
type lossError struct {
	why Loss
	err error
}

func (e lossError) Error() string { return string(e.why) + ": " + e.err.Error() }
func (e lossError) Unwrap() error { return e.err }

// lost names the end of a connection.
func lost(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return lossError{LossClosed, err}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return lossError{LossReset, err}
	}
	return lossError{LossBroken, err}
}

// purse is what the other side may still send unasked.
type purse int

func (p *purse) spend(n int) error {
	if *p -= purse(n); *p < 0 {
		return errTalks
	}
	return nil
}

// listen waits for the end of the connection. What comes is thrown away.
func (h *held) listen(conn net.Conn, until time.Time) error {
	conn.SetReadDeadline(until)
	left := purse(heldBudget)
	var buf [512]byte
	for {
		n, err := conn.Read(buf[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errOld
		case err != nil:
			return lost(err)
		}
		if err := left.spend(n); err != nil {
			return err
		}
	}
}

// ask sends one request after another. Between them the end of the connection
// is waited for as listen does.
func (h *held) ask(conn net.Conn, until time.Time) error {
	left := purse(heldBudget)
	var buf [2 << 10]byte
	next := time.Now()
	for {
		now := time.Now()
		if now.After(until) {
			return errOld
		}
		// After a pause of our own there is nothing to catch up with.
		next = later(next.Add(askEvery), now)
		if err := h.exchange(conn, buf[:]); err != nil {
			return err
		}
		for conn.SetReadDeadline(next); ; {
			n, err := conn.Read(buf[:])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return lost(err)
			}
			if err := left.spend(n); err != nil {
				return err
			}
		}
	}
}

// exchange is one request and the head of its answer. Any answer is a sign of
// life, whatever it says.
func (h *held) exchange(conn net.Conn, buf []byte) error {
	due := time.Now().Add(h.patience)
	conn.SetDeadline(due)
	if _, err := conn.Write(h.request); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return lossError{LossSilent, err} // after a written request that is a full buffer
		}
		return lost(err)
	}
	var head answerHead
	last := false
	for {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if last {
				return lossError{LossSilent, err}
			}
			last = true
			conn.SetReadDeadline(h.lastLook(due))
			continue
		case err != nil:
			return lost(err)
		}
		if err := head.feed(buf[:n]); err != nil {
			return err
		}
		if !head.done {
			continue
		}
		if head.closing {
			return errGoodbye
		}
		return nil
	}
}

// lastLook is how long a missing answer is looked for once more. When we woke
// up late it may have waited for us, or the other side's machine is ours and
// as busy: then it gets its time again.
func (h *held) lastLook(due time.Time) time.Time {
	now := time.Now()
	if now.Sub(due) < askLate {
		return now.Add(time.Millisecond)
	}
	h.count(func(s *HeldStats) { s.Late++ })
	return now.Add(askEvery)
}
