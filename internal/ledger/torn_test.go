package ledger

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cutAndOpen lays out the two files as a power cut left them and opens them.
func cutAndOpen(t *testing.T, file, log []byte) *Store {
	t.Helper()
	dir := memDir(t)
	for name, b := range map[string][]byte{ledgerFile: file, ledgerFile + walSuffix: log} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return mustOpen(t, Config{Dir: dir})
}

// A log that ends anywhere, with nothing or with garbage behind it, holds
// exactly the commits whose sync was over before the cut.
func TestATornLogLosesNoAcknowledgedCommit(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	log := filepath.Join(dir, ledgerFile+walSuffix)
	ends := []int{len(readFile(t, log))} // ends[n]: size of the log once n commits were acknowledged
	heads := []string{genesis}
	for n := range 12 {
		rc := mustCommit(t, s, named("orders", uint64(n)), entry("step", strings.Repeat("x", 1+n*n*40)))
		ends, heads = append(ends, len(readFile(t, log))), append(heads, rc.Record.AuditHead)
	}
	file, whole := readFile(t, filepath.Join(dir, ledgerFile)), readFile(t, log)
	r := rand.New(rand.NewPCG(1, 2))
	var cuts []int
	for _, end := range ends {
		cuts = append(cuts, end-1, end, end+1, end+24)
	}
	for range 160 / thorough {
		cuts = append(cuts, ends[0]+r.IntN(len(whole)-ends[0]+1))
	}
	for i, cut := range cuts {
		if cut < ends[0] || cut > len(whole) {
			continue
		}
		torn := whole[:cut:cut]
		if i%2 == 1 { // pages whose data never arrived
			junk := make([]byte, len(whole)-cut)
			if i%4 == 1 {
				for j := range junk {
					junk[j] = byte(r.Uint32())
				}
			}
			torn = append(torn, junk...)
		}
		want := 0
		for n, end := range ends {
			if end <= cut {
				want = n
			}
		}
		s := cutAndOpen(t, file, torn)
		rec, _, err := s.Load(t.Context(), "orders")
		// The last frame of a commit may be whole before the size says so: then
		// the next commit is found, which is fine; an older one never is.
		if err != nil || rec.Rev < uint64(want) || rec.Rev > uint64(want)+1 {
			t.Fatalf("cut at %d of %d: rev %d, acknowledged %d, %v", cut, len(whole), rec.Rev, want, err)
		}
		if rec.Rev > 0 && rec.AuditHead != heads[rec.Rev] {
			t.Fatalf("cut at %d: rev %d has another head", cut, rec.Rev)
		}
		mustVerify(t, s)
		mustCommit(t, s, named("orders", rec.Rev), entry("step", "after the cut"))
		mustVerify(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// While the log is moved into the file any page of the file may be old or new;
// the log has been synced and still holds them all.
func TestAPowerCutWhileTheLogIsMovedLosesNothing(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	for n := range uint64(40) {
		mustCommit(t, s, named("orders", n), entry("step", strings.Repeat("y", 700)))
	}
	path := filepath.Join(dir, ledgerFile)
	before, log := readFile(t, path), readFile(t, path+walSuffix)
	<-s.turn
	if err := s.checkpointInTurn(); err != nil {
		t.Fatal(err)
	}
	s.endTurn()
	after := readFile(t, path)
	if len(after) <= len(before) {
		t.Fatalf("the file did not grow: %d, %d bytes", len(before), len(after))
	}
	const sector = 512
	r := rand.New(rand.NewPCG(3, 4))
	for range 64 / thorough {
		mixed := append([]byte(nil), before...)
		mixed = append(mixed, make([]byte, r.IntN(len(after)-len(before)+1))...)
		for at := 0; at+sector <= len(mixed); at += sector {
			if r.IntN(2) == 0 {
				copy(mixed[at:at+sector], after[at:])
			}
		}
		s := cutAndOpen(t, mixed, log)
		if got := mustLoad(t, s, "orders"); got.Rev != 40 {
			t.Fatalf("rev %d", got.Rev)
		}
		mustVerify(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// After a checkpoint the log is written again from its start, over the old
// frames: a cut leaves new bytes in front of old ones.
func TestAPowerCutInARecycledLogLosesNothing(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	for n := range uint64(8) {
		mustCommit(t, s, named("orders", n), entry("step", fmt.Sprint(n)))
	}
	path := filepath.Join(dir, ledgerFile)
	<-s.turn
	if err := s.checkpointInTurn(); err != nil {
		t.Fatal(err)
	}
	s.endTurn()
	file, old := readFile(t, path), readFile(t, path+walSuffix)
	mustCommit(t, s, named("orders", 8), entry("step", "recycled"))
	recycled := readFile(t, path+walSuffix)
	if len(old) != len(recycled) || string(old) == string(recycled) {
		t.Fatal("the log was not recycled, so this shows nothing")
	}
	for cut := 0; cut <= len(recycled); cut += 373 * thorough {
		s := cutAndOpen(t, file, append(append([]byte(nil), recycled[:cut]...), old[cut:]...))
		if got := mustLoad(t, s, "orders"); got.Rev != 8 && got.Rev != 9 {
			t.Fatalf("cut at %d: rev %d", cut, got.Rev)
		}
		mustVerify(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := mustLoad(t, cutAndOpen(t, file, recycled), "orders"); got.Rev != 9 {
		t.Fatalf("the acknowledged commit is gone: rev %d", got.Rev)
	}
}

// What a start reads of the log may be pages that the kernel never wrote and
// believes clean: they are written again before they are trusted.
func TestAStartWritesTheLogAgainAsItIs(t *testing.T) {
	s := &Store{path: filepath.Join(seeded(t), ledgerFile)}
	log := s.path + walSuffix
	was, long := readFile(t, log), time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(log, long, long); err != nil {
		t.Fatal(err)
	}
	if err := s.rewriteLog(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(log)
	if err != nil || !info.ModTime().After(long) || len(was) == 0 || string(readFile(t, log)) != string(was) {
		t.Fatalf("%v, %v: not written, or not as it was", info, err)
	}
}
