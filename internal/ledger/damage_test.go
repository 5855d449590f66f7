package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// closed makes a ledger with a few records, lets change alter it through its
// own connection, and closes it.
func closed(t *testing.T, queries ...string) string {
	t.Helper()
	dir := memDir(t)
	s := filled(t, dir, 5)
	for _, q := range queries {
		alter(t, s, q)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func refused(t *testing.T, dir string, sentinel error, words ...string) {
	t.Helper()
	before := snapshot(t, dir)
	_, err := Open(t.Context(), Config{Dir: dir, Owner: "ctl-1"})
	if !errors.Is(err, sentinel) {
		t.Fatalf("%v, want %v", err, sentinel)
	}
	for _, w := range append(words, filepath.Join(dir, ledgerFile)) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	for name, was := range before {
		if is, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(is) != was {
			t.Errorf("a refused open changed %s: %v", name, err)
		}
	}
	// The lock is free again.
	l, err := acquireLock(dir, "ctl-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
}

func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{ledgerFile, ledgerFile + walSuffix} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			files[name] = string(b)
		}
	}
	return files
}

func TestALedgerOfANewerVersionIsRefusedUnchanged(t *testing.T) {
	t.Run("schema", func(t *testing.T) {
		refused(t, closed(t, "PRAGMA user_version=7"), ErrNewer, "schema version 7", "up to 3")
	})
	rewrite := func(from, to string) string {
		dir := memDir(t)
		s := filled(t, dir, 5)
		body, err := s.disk.conn.QueryContext(t.Context(), "SELECT body FROM records WHERE instance = 'orders'")
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		body.Next()
		if err := errors.Join(body.Scan(&b), body.Close()); err != nil {
			t.Fatal(err)
		}
		changed := []byte(strings.Replace(string(b), from, to, 1))
		alter(t, s, "UPDATE records SET body = ?, sum = ? WHERE instance = 'orders'", changed, checksum(changed))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	now := fmt.Sprintf(`"version":%d`, failover.RecordVersion)
	t.Run("record", func(t *testing.T) {
		refused(t, rewrite(now, `"version":9`), ErrNewer, "orders", "record version 9", fmt.Sprintf("up to %d", failover.RecordVersion))
	})
	t.Run("record without a version", func(t *testing.T) {
		refused(t, rewrite(now, `"versio":1`), ErrCorrupt, "orders", "no version")
	})
	t.Run("record with a field that nobody knows", func(t *testing.T) {
		refused(t, rewrite(now, now+`,"surprise":true`), ErrNewer, "orders", "surprise")
	})
}

func TestADamagedLedgerIsRefusedWithTheFileAndWhatToDo(t *testing.T) {
	const advice = "restore a backup"
	t.Run("empty", func(t *testing.T) {
		dir := closed(t)
		if err := os.Truncate(filepath.Join(dir, ledgerFile), 0); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, ErrCorrupt, advice, "empty")
	})
	t.Run("missing beside its log", func(t *testing.T) {
		dir := closed(t)
		if err := os.Rename(filepath.Join(dir, ledgerFile), filepath.Join(dir, ledgerFile+walSuffix)); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, ErrCorrupt, advice, "missing")
	})
	t.Run("not SQLite", func(t *testing.T) {
		dir := closed(t)
		if err := os.WriteFile(filepath.Join(dir, ledgerFile), []byte(strings.Repeat("no ledger\n", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, ErrCorrupt, advice)
	})
	t.Run("another program's file", func(t *testing.T) {
		refused(t, closed(t, "PRAGMA application_id=1"), ErrCorrupt, advice, "no ledger of ours")
	})
	t.Run("schema version 0", func(t *testing.T) {
		refused(t, closed(t, "PRAGMA user_version=0"), ErrCorrupt, advice, "version 0")
	})
	t.Run("half of it gone", func(t *testing.T) {
		dir := closed(t)
		if err := os.Truncate(filepath.Join(dir, ledgerFile), 3*4096); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, ErrCorrupt, advice)
	})
	t.Run("a record that does not match its checksum", func(t *testing.T) {
		dir := closed(t)
		path := filepath.Join(dir, ledgerFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flipped := strings.ReplaceAll(string(b), `"active":"a"`, `"active":"b"`) // still good JSON in a good page
		if flipped == string(b) {
			t.Fatal("nothing to flip")
		}
		if err := os.WriteFile(path, []byte(flipped), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, ErrCorrupt, advice, "checksum")
	})
	t.Run("rev beside the record", func(t *testing.T) {
		refused(t, closed(t, "UPDATE records SET rev = rev + 1"), ErrCorrupt, advice, "says it is")
	})
	t.Run("audit without its end", func(t *testing.T) {
		refused(t, closed(t, "DELETE FROM audit WHERE seq = 5"), ErrCorrupt, advice, "ends at entry 4, the ledger says 5")
	})
	t.Run("no head", func(t *testing.T) {
		refused(t, closed(t, "DELETE FROM ledger"), ErrCorrupt, advice)
	})
}

func TestRandomDamageNeverPanicsAndNeverPassesForAnotherRecord(t *testing.T) {
	dir := closed(t)
	whole, err := os.ReadFile(filepath.Join(dir, ledgerFile))
	if err != nil {
		t.Fatal(err)
	}
	want := map[failover.InstanceName]uint64{"orders": 3, "billing": 2}
	kept, broken := 0, 0
	for at := 0; at < len(whole); at += 97 * thorough {
		b := []byte(string(whole))
		b[at] ^= 0x5a
		dir := memDir(t)
		if err := os.WriteFile(filepath.Join(dir, ledgerFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Config{Dir: dir, Owner: "ctl-1"})
		if err != nil {
			broken++
			continue
		}
		kept++
		for id, rev := range want {
			if r, ok, _ := s.Load(t.Context(), id); !ok || r.Rev != rev || r.Active != "a" {
				t.Errorf("byte %d flipped: %s is %+v", at, id, r)
			}
		}
		_ = s.Close()
	}
	if kept == 0 || broken == 0 {
		t.Fatalf("%d kept, %d refused: the test shows nothing", kept, broken)
	}
}

func TestANewLedgerIsMadeOverTheRestOfAnUnfinishedOne(t *testing.T) {
	dir := memDir(t)
	if err := os.WriteFile(filepath.Join(dir, ledgerFile+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, Config{Dir: dir})
	if term, err := s.Term(); term != 1 || err != nil {
		t.Fatal(term, err)
	}
}
