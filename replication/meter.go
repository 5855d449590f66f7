package replication

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollMeter reads what a switch would lose where somebody else carries the rows:
// it asks from time to time. One answer that does not come is nothing yet: the
// last one has its time, and its age is added to it.
type pollMeter struct {
	every   time.Duration
	timeout time.Duration // of one question
	// ask returns a known exposure, as of its At, or why there is none.
	ask func(context.Context) (ExposureNow, error)
}

// patience is how many rounds an answer is worth something.
const patience = 3

// Run tells until ctx ends, whose error it returns. What is told stands, and
// grows older, until something else is told.
func (m *pollMeter) Run(ctx context.Context, tell func(ExposureNow)) error {
	last := time.Now()
	for first := true; ; first = false {
		e, err := m.once(ctx)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			last = now
			tell(e)
		case first || now.Sub(last) >= patience*m.every || errors.As(err, new(unknownError)):
			tell(ExposureNow{At: now, Why: err.Error()})
		}
		if !rest(ctx, jittered(m.every), nil) {
			return ctx.Err()
		}
	}
}

// once asks once. An answer that is too old says that nothing is known.
func (m *pollMeter) once(ctx context.Context) (ExposureNow, error) {
	within, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	e, err := m.ask(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return e, fmt.Errorf("no answer within %s", m.timeout)
	}
	if age := time.Since(e.At); err == nil && age > patience*m.every {
		return ExposureNow{}, unknownError(fmt.Sprintf("the answer is of %s ago", age.Round(time.Second)))
	}
	return e, err
}

// unknownError is an answer that says that nothing is known.
type unknownError string

func (e unknownError) Error() string { return string(e) }
