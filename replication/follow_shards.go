package replication

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"pointsman/replication/ots"
)

// listing is what shards a stream has: open ones, and those that have ended as
// long as their records are kept.
type listing struct {
	shards map[string]ots.Shard
}

// list asks for the shards of the stream that is followed. That it is none of
// the table's any more is a *GapError.
func (f *follower) list(ctx context.Context) (listing, error) {
	want := ""
	for _, p := range f.cfg.Start {
		if want = cmp.Or(want, p.Stream); p.Stream != want {
			return listing{}, f.gap("the saved positions are of two streams, %s and %s", want, p.Stream)
		}
	}
	if want == "" {
		return listing{}, f.gap("no position was saved")
	}
	all, err := f.cfg.Client.Streams(ctx, f.cfg.Table)
	if ots.ClassOf(err) == ots.ClassAbsent {
		return listing{}, f.gap("the table does not exist any more")
	}
	if err != nil {
		return listing{}, fmt.Errorf("list streams: %w", err)
	}
	listed := slices.ContainsFunc(all, func(s ots.Stream) bool { return s.ID == want })
	f.doubt(!listed)
	_, shards, err := f.cfg.Client.Shards(ctx, want)
	switch {
	case !listed && err == nil:
		return listing{}, fmt.Errorf("the service describes stream %s, and does not list it", want)
	case !listed && ots.ClassOf(err) == ots.ClassAbsent && len(all) == 0:
		return listing{}, f.gap("it was switched off")
	case !listed && ots.ClassOf(err) == ots.ClassAbsent:
		return listing{}, f.gap("it was switched off and on again: it is %s now, and was %s", all[0].ID, want)
	case err != nil: // where it is listed and absent, it was dropped just now: the next try finds that out
		return listing{}, fmt.Errorf("list shards: %w", err)
	}
	return listingOf(shards), nil
}

func listingOf(shards []ots.Shard) listing {
	l := listing{shards: make(map[string]ots.Shard, len(shards))}
	for _, s := range shards {
		l.shards[s.ID] = s
	}
	return l
}

// children are the shards that begin where this one ends.
func (l listing) children(shard string) (kids []ots.Shard) {
	for _, s := range l.shards {
		if slices.Contains(s.Parents, shard) {
			kids = append(kids, s)
		}
	}
	slices.SortFunc(kids, func(a, b ots.Shard) int { return cmp.Compare(a.ID, b.ID) })
	return kids
}

// before are the shards that are not followed and were read before those that
// are: their parents, and the parents of those.
func (l listing) before(frontier map[string]position) map[string]bool {
	read := map[string]bool{}
	var mark func(parents []string)
	mark = func(parents []string) {
		for _, id := range parents {
			if _, followed := frontier[id]; !followed && !read[id] {
				read[id] = true
				mark(l.shards[id].Parents)
			}
		}
	}
	for id, p := range frontier {
		mark(p.Parents)
		mark(l.shards[id].Parents)
	}
	return read
}

// unread finds a reason to believe that records were missed: a shard that was
// being read and is gone, or one that is neither followed, nor comes after
// followed ones, nor was read before them.
func (l listing) unread(frontier map[string]position) (why string) {
	before := l.before(frontier)
	behind := map[string]bool{} // comes after followed ones, and only such
	var isBehind func(id string) bool
	isBehind = func(id string) bool {
		if _, followed := frontier[id]; followed {
			return true
		}
		if is, known := behind[id]; known || before[id] {
			return is
		}
		behind[id] = false // ends a circle
		parents := l.shards[id].Parents
		behind[id] = len(parents) > 0 && !slices.ContainsFunc(parents, func(p string) bool { return !isBehind(p) })
		return behind[id]
	}
	for id, p := range frontier {
		if _, listed := l.shards[id]; !listed && !p.Done {
			return fmt.Sprintf("shard %s is gone and had not been read to its end", id)
		}
	}
	for id := range l.shards {
		if !before[id] && !isBehind(id) {
			return fmt.Sprintf("shard %s was never read, and comes after none that was", id)
		}
	}
	return ""
}

// check is a *GapError if a shard was missed. It looks twice, for a listing
// comes in pages and may be torn, and returns the newest. ending is held.
func (f *follower) check(ctx context.Context, l listing) (listing, error) {
	unread := func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.listed = l
		return l.unread(f.frontier)
	}
	if unread() == "" {
		return l, nil
	}
	if err := f.insist(ctx, "", func() (err error) { l, err = f.list(ctx); return err }); err != nil {
		return l, err
	}
	if why := unread(); why != "" {
		return l, f.gap("%s", why)
	}
	return l, nil
}

// children are the positions of the shards that can be read when p's is done:
// none while another parent of a merge is not. ending is held.
func (f *follower) children(ctx context.Context, l listing, p position) (kids []position, err error) {
	if l, err = f.check(ctx, l); err != nil {
		return nil, err
	}
	opened := map[string]bool{} // parents of those that were opened now
	for _, s := range l.children(p.Shard) {
		kid, ready := f.child(s, p)
		if !ready {
			continue
		}
		if kid.Iterator == "" && !kid.Done {
			absences := 0
			if err := f.insist(ctx, p.Shard, func() (err error) {
				kid.Iterator, err = f.cfg.Client.Iterator(ctx, p.Stream, s.ID, time.Time{})
				if err = f.absent(ctx, s.ID, err, &absences); err != nil && !lasting(err) {
					err = fmt.Errorf("shard %s: find its oldest record: %w", s.ID, err)
				}
				return err
			}); err != nil {
				return nil, err
			}
			for _, id := range s.Parents {
				opened[id] = true
			}
		}
		kids = append(kids, kid)
	}
	if len(opened) == 0 {
		return kids, nil
	}
	// What a child has is younger than the end of its parents. As long as those
	// are kept nothing of it can have been trimmed, so its oldest record was its
	// first.
	if err := f.insist(ctx, p.Shard, func() (err error) { l, err = f.list(ctx); return err }); err != nil {
		return nil, err
	}
	for id := range opened {
		if _, listed := l.shards[id]; !listed {
			return nil, f.gap("shard %s is gone, and what comes after it may be trimmed", id)
		}
	}
	return kids, nil
}

// child is the position of a child of p's shard, without an iterator if it was
// not opened yet, and whether all its parents are done once p's shard is.
func (f *follower) child(s ots.Shard, p position) (kid position, ready bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kid, ours := f.frontier[s.ID]
	if ours {
		return kid, f.read(s.Parents, p.Shard)
	}
	if f.listed.before(f.frontier)[s.ID] {
		return kid, false
	}
	kid = position{Stream: p.Stream, Shard: s.ID, Parents: s.Parents, Upto: p.Upto, Proved: p.Proved, Ahead: p.Ahead}
	for _, id := range s.Parents {
		if id == p.Shard {
			continue
		}
		// A parent that is not followed yet comes after others that are.
		parent, followed := f.frontier[id]
		if !followed || !parent.Done {
			return kid, false
		}
		kid.Upto, kid.Proved = minTime(kid.Upto, parent.Upto), minTime(kid.Proved, parent.Proved)
		kid.Ahead = max(kid.Ahead, parent.Ahead)
	}
	return kid, true
}

// read says whether all of these shards are read to their ends: those that are
// followed and done, and those that were before all that are followed. The ones
// of except count as done, too. mu is held.
func (f *follower) read(shards []string, except ...string) bool {
	seen := map[string]bool{} // ends a circle
	var all func(shards []string) bool
	all = func(shards []string) bool {
		return !slices.ContainsFunc(shards, func(id string) bool {
			if seen[id] || slices.Contains(except, id) {
				return false
			}
			seen[id] = true
			if p, followed := f.frontier[id]; followed {
				return !p.Done
			}
			return !all(f.listed.shards[id].Parents)
		})
	}
	return all(shards)
}

// unfinished are shards that are done and have children that could be read and
// are not: of a set of positions that was not saved as a whole, or that the
// service told of late.
func (f *follower) unfinished(l listing) (out []position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := l.before(f.frontier)
	for id, p := range f.frontier {
		if p.Done && slices.ContainsFunc(l.children(id), func(s ots.Shard) bool {
			_, ours := f.frontier[s.ID]
			return !ours && !before[s.ID] && !slices.ContainsFunc(s.Parents, func(id string) bool { return !f.frontier[id].Done })
		}) {
			out = append(out, p)
		}
	}
	return out
}

// forget drops shards that are done and that the service has forgotten too.
func (f *follower) forget(l listing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, p := range f.frontier {
		if _, listed := l.shards[id]; !listed && p.Done {
			delete(f.frontier, id)
		}
	}
}
