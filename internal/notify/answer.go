package notify

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Bounds of what a receiver may ask us to wait.
const (
	minThrottle = time.Second
	maxThrottle = time.Hour
	defThrottle = time.Minute // it said nothing of how long
)

// throttled: the receiver takes nothing more for a while. It is no failed try
// of the message.
type throttled struct {
	after time.Duration
	why   string
}

func (t *throttled) Error() string {
	return fmt.Sprintf("the receiver wants no more for %s: %s", t.after.Round(time.Second), t.why)
}

// errRefused: the receiver takes this message in no case, however often it is
// tried.
var errRefused = errors.New("the receiver refuses the message")

// ParseRetryAfter reads the header Retry-After (RFC 9110 section 10.2.3):
// seconds, or a date. ok is false for what is neither. The result is never
// negative and at most an hour.
func ParseRetryAfter(s string, now time.Time) (wait time.Duration, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 64 {
		return 0, false
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(maxThrottle/time.Second) {
			return maxThrottle, true // more digits than any honest answer
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxThrottle), true
}

// judge says what the status of an answer means. Its words hold the whole body:
// [hide] cuts them, after it has hidden what is secret. The other way round half
// a secret at the cut would be none that hide knows.
func judge(resp *http.Response, body []byte, now time.Time) error {
	why := fmt.Sprintf("status %d", resp.StatusCode)
	if said := strings.TrimSpace(string(body)); said != "" {
		why += ": " + said
	}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		return slowDown(resp, now, why)
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnsupportedMediaType, code == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", errRefused, why)
	default:
		return errors.New(why)
	}
}

func slowDown(resp *http.Response, now time.Time, why string) *throttled {
	wait, ok := ParseRetryAfter(resp.Header.Get("Retry-After"), now)
	if !ok {
		wait = defThrottle
	}
	return &throttled{max(wait, minThrottle), why}
}

// Retries of a parcel.
const (
	firstRetry  = 2 * time.Second
	lastRetry   = 5 * time.Minute
	maxRefusals = 3 // of a message that the receiver refuses
	// refusedFor is how far apart the first and the last refusal of a message
	// are at least before it is given up, if it wants somebody.
	refusedFor = 15 * time.Minute
)

// retryIn is how long to wait after so many failed tries: doubling from 2 s to
// 5 min, each time by up to a half more or less, so that what failed together
// does not come again together.
func retryIn(tries int) time.Duration {
	b := &backoff.ExponentialBackOff{InitialInterval: firstRetry, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: lastRetry}
	b.Reset()
	var wait time.Duration
	for range min(max(tries, 1), 10) { // 2 s doubled nine times is above 5 min
		wait = b.NextBackOff()
	}
	return wait
}
