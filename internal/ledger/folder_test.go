package ledger

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAFolderThatOthersCanExchangeIsRefused: nothing is opened or written
// where somebody else could have put a link in the place of a file of ours.
func TestAFolderThatOthersCanExchangeIsRefused(t *testing.T) {
	const nobody = 65534
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("something of root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(name string) func(string) error {
		return func(dir string) error { return os.Symlink(victim, filepath.Join(dir, name)) }
	}
	type spoilt struct {
		spoil func(dir string) error
		want  string
	}
	cases := map[string]spoilt{
		"everybody may write":  {func(dir string) error { return os.Chmod(dir, 0o777) }, "everybody may write"},
		"the lock is a link":   {link(lockFile), "is a link"},
		"the ledger is a link": {link(ledgerFile), "no plain file"},
		"its log is a link":    {link(ledgerFile + walSuffix), "no plain file"},
		"all well":             {func(dir string) error { return os.Chmod(dir, 0o750) }, ""},
	}
	if os.Geteuid() == 0 { // nobody else can give a folder away; the rule itself is tested below
		cases["of another user"] = spoilt{func(dir string) error { return os.Chown(dir, nobody, nobody) }, "belongs to user 65534"}
	}
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			dir := memDir(t)
			if err := tc.spoil(dir); err != nil {
				t.Fatal(err)
			}
			s, err := Open(context.Background(), Config{Dir: dir, Owner: "ctl-1"})
			if err == nil {
				_ = s.Close()
			}
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Open: %v, want it to say %q", err, tc.want)
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "something of root's" {
				t.Errorf("the file that is not ours holds %q now: %v", text, err)
			}
		})
	}
}

// TestWhoMayOwnTheFolder: who runs it or root, whoever runs the test.
func TestWhoMayOwnTheFolder(t *testing.T) {
	const dir, plain, me, other = unix.S_IFDIR | 0o770, unix.S_IFREG | 0o600, 1000, 1001
	for _, tc := range []struct {
		mode, owner uint32
		want        string
	}{
		{dir, me, ""},
		{dir, 0, ""},
		{dir, other, "belongs to user 1001"},
		{dir | 0o002, me, "everybody may write"},
		{dir | 0o002 | unix.S_ISVTX, 0, "everybody may write"},
		{plain, me, "is no folder"},
	} {
		err := ours("data", tc.mode, tc.owner, me)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("mode %o of user %d: %v, want %q", tc.mode, tc.owner, err, tc.want)
		}
	}
}

// TestAHistoryThatIsALinkIsNotWritten: measured history goes on in memory then.
func TestAHistoryThatIsALinkIsNotWritten(t *testing.T) {
	dir, elsewhere := memDir(t), filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(elsewhere, filepath.Join(dir, historyFile)); err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Stats().Trouble == nil {
		t.Error("no trouble is told")
	}
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("a file was made elsewhere")
	}
}
