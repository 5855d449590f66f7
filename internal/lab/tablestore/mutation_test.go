package tablestore

import (
	"math"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

// TestTheWindowOfVersions: [max(now - deviation, now - TTL), now + deviation), in
// seconds, to the ms.
func TestTheWindowOfVersions(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_999)
	for _, c := range []struct {
		ttl, deviation int64
		from, to       int64 // s from now: the first that may be, and the first that may not any more
	}{
		{-1, 86400, -86400, 86400},
		{-1, 5, -5, 5},
		{100000, 200000, -100000, 200000},
		{200000, 100000, -100000, 100000},
		{86400, math.MaxInt32, -86400, math.MaxInt32},
	} {
		o := &tableOptions{TTL: int32(c.ttl), Deviation: c.deviation}
		for at, want := range map[int64]bool{
			(now.Unix()+c.from)*1000 - 1: false, (now.Unix() + c.from) * 1000: true,
			(now.Unix()+c.to)*1000 - 1: true, (now.Unix() + c.to) * 1000: false,
		} {
			ref := checkVersion(&plainbuffer.Cell{Name: "c", Time: at, HasTime: true}, o, now)
			if (ref == nil) != want || ref != nil && (ref.code != codeParameterInvalid || ref.message != "Invalid timestamp. Cell:c.") {
				t.Errorf("%+v: %d: %v", c, at-now.UnixMilli(), ref)
			}
		}
	}
}
