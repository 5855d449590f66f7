package replication

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// Bounds of an answer.
const (
	maxAnswer  = 64 << 10                  // bytes
	maxLag     = 10 * 365 * 24 * time.Hour // more is no lag but a mistake
	clockAhead = 5 * time.Second           // that an answer's moment may be
	answerLike = `{"lag_ms": 1200, "at": "2026-11-29T12:00:00Z"}`
)

// parseAnswer reads what an external replication says of itself: one JSON
// object with lag_ms, a number from 0; rows, an integer from 0, and at, the
// moment (RFC 3339) that both are of, may be left out. Names are exact, and no
// other is taken, nor one twice: what is misspelt must not read as 0. Sent is
// when the answer was asked for, which is its moment where it tells none.
func parseAnswer(text []byte, sent time.Time) (ExposureNow, error) {
	e, err := answerOf(text, sent)
	if err != nil {
		return ExposureNow{}, fmt.Errorf("the answer cannot be read (example: %s): %w", answerLike, err)
	}
	return e, nil
}

func answerOf(text []byte, sent time.Time) (ExposureNow, error) {
	if len(text) > maxAnswer {
		return ExposureNow{}, fmt.Errorf("it has more than %d KiB", maxAnswer>>10)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return ExposureNow{}, errors.New("it is no JSON object")
	}
	e := ExposureNow{Known: true, At: sent}
	seen := map[string]bool{}
	for d.More() {
		name, value, err := member(d)
		if err != nil {
			return ExposureNow{}, err
		}
		if seen[name] {
			return ExposureNow{}, fmt.Errorf("%s is said twice", name)
		}
		seen[name] = true
		switch name {
		case "lag_ms":
			e.Lag, err = lagOf(value)
		case "rows":
			n, number := value.(json.Number)
			if e.Rows, err = strconv.ParseInt(string(n), 10, 64); !number || err != nil || e.Rows < 0 {
				err = errors.New("rows is no integer from 0")
			}
			e.About = e.Rows
		case "at":
			e.At, err = momentOf(value, sent)
		default:
			err = fmt.Errorf("%.40q is none of lag_ms, rows and at", name)
		}
		if err != nil {
			return ExposureNow{}, err
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return ExposureNow{}, errors.New("it ends in the middle")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ExposureNow{}, errors.New("something follows the object")
	}
	if !seen["lag_ms"] {
		return ExposureNow{}, errors.New("lag_ms is missing")
	}
	return e, nil
}

// member reads a name and a plain value.
func member(d *json.Decoder) (name string, value any, err error) {
	t, err := d.Token()
	if err != nil {
		return "", nil, errors.New("it ends in the middle, or is no JSON")
	}
	name, _ = t.(string) // the decoder takes nothing else for a name
	if value, err = d.Token(); err != nil {
		return "", nil, errors.New("it ends in the middle, or is no JSON")
	}
	if _, nested := value.(json.Delim); nested {
		return "", nil, fmt.Errorf("%.40q is an object or a list", name)
	}
	return name, value, nil
}

func lagOf(value any) (time.Duration, error) {
	n, _ := value.(json.Number)
	ms, err := strconv.ParseFloat(string(n), 64)
	if err != nil || !(ms >= 0 && ms <= float64(maxLag/time.Millisecond)) {
		return 0, fmt.Errorf("lag_ms is no number from 0 to %d", maxLag/time.Millisecond)
	}
	return time.Duration(math.Ceil(ms * float64(time.Millisecond))), nil
}

// momentOf is not after sent, whatever the other clock says.
func momentOf(value any, sent time.Time) (time.Time, error) {
	text, _ := value.(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err != nil:
		return time.Time{}, errors.New("at is no moment as RFC 3339 writes them")
	case at.After(sent.Add(clockAhead)):
		return time.Time{}, fmt.Errorf("at is %s from now: its clock is not ours", at.Sub(sent).Round(time.Second))
	}
	return minTime(at, sent), nil
}
