package replication

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/replication/ots"
)

var someTime = time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC)

func someSaved() saved {
	return saved{
		Table: "orders", Phase: PhaseCopying, Why: "asked for", At: someTime,
		Positions: []position{
			{Stream: "s", Shard: "1", Done: true, Seq: ots.Sequence{Epoch: 1, Time: 2, Index: 3}},
			{Stream: "s", Shard: "2", Parents: []string{"1"}, Iterator: "it", Upto: someTime},
		},
		Copy:  &savedCopy{Since: someTime, Ranges: []savedRange{{End: []byte{1}, Done: true}, {Start: []byte{1}, Next: []byte{2}}}, Rows: 7},
		Order: &savedOrder{Resync: true, By: "alice", Reason: "trimmed", At: someTime},
	}
}

func TestSavedComesBack(t *testing.T) {
	for _, s := range []saved{someSaved(), {}, {Table: "x", Phase: PhaseCut, Op: "op-7"}} {
		b, err := encodeSaved(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeSaved(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s, back) {
			t.Errorf("%+v\ncame back as\n%+v", s, back)
		}
		for n := range b {
			if _, err := decodeSaved(b[:n]); err == nil {
				t.Fatalf("%d of %d bytes were read", n, len(b))
			}
		}
	}
}

func TestSavedRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                       "version 0",
		`{"v":2}`:                  "another release",
		`{"v":1,"phase":"asleep"}`: "phase",
		`{"v":1,"later":true}`:     "unknown field",
		`{"v":1}{"v":1}`:           "invalid character",
		`{"v":1,"positions":[{}]}`: "without a stream",
		`{"v":1,"positions":[{"stream":"s","shard":"1"}]}`:                                                    "an iterator is",
		`{"v":1,"positions":[{"stream":"s","shard":"1","iterator":"i","done":true}]}`:                         "an iterator is",
		`{"v":1,"positions":[{"stream":"s","shard":"1","done":true},{"stream":"s","shard":"1","done":true}]}`: "two positions",
	} {
		if _, err := decodeSaved([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := encodeSaved(saved{Phase: "asleep"}); err == nil {
		t.Error("what cannot be read was written")
	}
}

func FuzzDecodeSaved(f *testing.F) {
	b, err := encodeSaved(someSaved())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSaved(b)
		if err != nil {
			return
		}
		again, err := encodeSaved(s)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := decodeSaved(again)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := encodeSaved(back)
		if err != nil || string(twice) != string(again) {
			t.Fatalf("%s\n%s\n%v", again, twice, err)
		}
	})
}

func TestSavedOfManyShardsComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := saved{Table: "t"}
		for i := range rapid.IntRange(0, 50).Draw(t, "shards") {
			p := position{Stream: "s", Shard: rapid.StringMatching(`[a-z]{3}`).Draw(t, "shard") + string(rune('0'+i)), Upto: time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "upto")).UTC()}
			p.Iterator = rapid.StringN(0, 40, -1).Draw(t, "iterator")
			p.Done = p.Iterator == ""
			s.Positions = append(s.Positions, p)
		}
		b, err := encodeSaved(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeSaved(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s, back) {
			t.Fatalf("%+v\ncame back as\n%+v", s, back)
		}
	})
}
