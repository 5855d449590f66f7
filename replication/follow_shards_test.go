package replication

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/replication/ots"
)

// family is a listing in which names of parents come after a child's: "c<a,b".
func family(text string) listing {
	var out []ots.Shard
	for _, one := range strings.Fields(text) {
		id, parents, _ := strings.Cut(one, "<")
		s := ots.Shard{ID: id}
		if parents != "" {
			s.Parents = strings.Split(parents, ",")
		}
		out = append(out, s)
	}
	return listingOf(out)
}

// placed are positions: "a" is being read, "a." is done. Parents are those of
// the listing.
func placed(l listing, text string) map[string]position {
	out := map[string]position{}
	for _, one := range strings.Fields(text) {
		id, done := strings.CutSuffix(one, ".")
		out[id] = position{Stream: "s", Shard: id, Done: done, Parents: l.shards[id].Parents, Iterator: "i"}
	}
	return out
}

func TestUnreadShardsAreFound(t *testing.T) {
	for _, c := range []struct{ listed, followed, want string }{
		{"a", "a", ""},
		{"a b", "a b", ""},
		{"a b", "a", "b was never read"},
		{"a b<a c<a", "a", ""},      // to come
		{"a b<a c<a", "b c", ""},    // read before
		{"a b<a c<a", "a. b c", ""}, // and still known
		{"a b<a c<a", "b", "c was never read"},
		{"b<a c<a", "b c", ""}, // the parent is forgotten
		{"b<a", "a", "a is gone"},
		{"b<a", "a.", ""},
		{"b<a c<a", "x b c", "x is gone"},
		{"a b<a c<a d<b,c", "a", ""},
		{"a b<a c<a d<b,c", "b. c", ""},
		{"a b<a c<a d<b,c", "d", ""},
		{"b<a c<a d<b,c", "d", ""},
		{"a b<a c<a d<b,c e<c", "d", "e was never read"},
		{"a b c<a,b", "a", "was never read"}, // half of a merge
		{"b c<a,b", "b", "c was never read"}, // the other half is forgotten
		{"a b<a c<a d<b e<b", "c d e", ""},   // deep
		{"a b<a c<a d<b e<b", "c d", "e was never read"},
		{"a b<c c<b", "a", "was never read"}, // no service says so
		{"a<a", "a", ""},
		{"a<b b<a", "a", ""},
	} {
		l := family(c.listed)
		why := l.unread(placed(l, c.followed))
		if c.want == "" && why != "" || !strings.Contains(why, c.want) {
			t.Errorf("listed %q, followed %q: %q, want %q", c.listed, c.followed, why, c.want)
		}
	}
}

// What was read is not opened once more because it is not known any more: its
// old records would come after newer ones.
func TestShardsThatWereReadAreNotOpenedAgain(t *testing.T) {
	for _, c := range []struct{ listed, followed, want string }{
		{"a b<a c<a", "a.", "b c"},
		{"a b<a c<a", "a. b", "b c"},
		{"a b<a c<a d<b,c", "a. b. c", "b c"},
		{"a b<a c<a d<b e<b", "a. c d e", "c"}, // b was read and is forgotten
		{"a b c<a,b", "a. b", ""},
		{"a b c<a,b", "a. b.", "c"},
	} {
		l := family(c.listed)
		f := newFollower(followConfig{})
		f.frontier, f.listed = placed(l, c.followed), l
		var got []string
		for _, s := range l.children("a") {
			if kid, ready := f.child(s, f.frontier["a"]); ready {
				got = append(got, kid.Shard)
			}
		}
		if slices.Sort(got); strings.Join(got, " ") != c.want {
			t.Errorf("listed %q, followed %q: %q come after a, want %q", c.listed, c.followed, got, c.want)
		}
	}
}

func TestAChildIsReadAfterAllItsParents(t *testing.T) {
	for _, c := range []struct {
		listed, followed string
		want             bool // of the parents of d
	}{
		{"a b d<a,b", "a. b. d", true},
		{"a b d<a,b", "a. b d", false},
		{"d<a,b", "d", true},
		{"a b<a d<b", "a d", false}, // b will be read once a is
		{"a b<a d<b", "a. d", true}, // b was read and is forgotten
		{"a b<a d<b", "a. b d", false},
		{"d<d", "x", true},
	} {
		l := family(c.listed)
		f := newFollower(followConfig{})
		f.frontier, f.listed = placed(l, c.followed), l
		if got := f.read(l.shards["d"].Parents); got != c.want {
			t.Errorf("listed %q, followed %q: %v", c.listed, c.followed, got)
		}
	}
}

// torn is a service whose first listing lacks a shard that is split while its
// pages are read.
type torn struct {
	streams
	listings int
}

func (s *torn) Streams(context.Context, string) ([]ots.Stream, error) {
	return []ots.Stream{{ID: "s"}}, nil
}

func (s *torn) Shards(context.Context, string) (ots.Stream, []ots.Shard, error) {
	s.listings++
	l := family("a b<a c<a d<b e<b")
	if s.listings == 1 {
		delete(l.shards, "b")
	}
	return ots.Stream{}, slices.Collect(maps.Values(l.shards)), nil
}

func (s *torn) Iterator(_ context.Context, stream, shard string, from time.Time) (string, error) {
	return fmt.Sprint(stream, shard, from), nil
}

func (s *torn) Offset() (low, high time.Duration, known bool) { return 0, time.Second, true }

func TestTipsOfATornListing(t *testing.T) {
	found, err := tips(t.Context(), &torn{}, "t", second(10))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range found {
		ids = append(ids, p.Shard)
		if p.Iterator == "" || !p.Upto.Equal(second(9)) {
			t.Errorf("%+v", p)
		}
	}
	if slices.Sort(ids); strings.Join(ids, "") != "abcde" {
		t.Errorf("%v, want b too: d and e come after it", ids)
	}
}
