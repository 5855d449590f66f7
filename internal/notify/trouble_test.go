package notify

import (
	"testing"
	"time"
)

// sick makes the disk refuse what is written, or take it again.
func sick(t *testing.T, n *Notifier, is string) {
	t.Helper()
	if err := n.box.disk.exec("PRAGMA query_only=" + is); err != nil {
		t.Fatal(err)
	}
}

// What came while the disk refused is on it as soon as it takes something, and
// only then the trouble is over.
func TestADiskThatIsWellAgainGetsWhatItMissed(t *testing.T) {
	dir := t.TempDir()
	n := mustOpen(t, dir, quiet())
	gone := n.complete(*message("gone"))
	n.put(&gone)
	now := time.Now()
	sick(t, n, "ON")
	p, _ := n.box.next("hook", now)
	n.box.done(p, nil, now)
	lost := n.complete(*message("lost"))
	n.put(&lost)
	if err := n.Deliver(nocancel{}, []string{"hook"}, Document{ID: "report", Title: "weekly"}); err == nil || len(n.box.entries) != 2 {
		t.Errorf("a report on a sick disk: %v, %d wait", err, len(n.box.entries))
	}
	if n.Trouble() == nil {
		t.Error("nobody is told")
	}
	sick(t, n, "OFF")
	kept := n.complete(*message("kept"))
	n.put(&kept)
	if err := n.Trouble(); err != nil {
		t.Errorf("it is well again, and in trouble: %v", err)
	}
	if err := n.Deliver(nocancel{}, []string{"hook"}, Document{ID: "report", Title: "weekly"}); err != nil {
		t.Error(err)
	}
	spent := len(n.box.rates["hook"].spent)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = mustOpen(t, dir, quiet())
	defer n.Close()
	var got []string
	for _, e := range n.box.entries {
		got = append(got, e.msg.ID)
	}
	if len(got) != 3 || got[0] != "lost" || got[1] != "report" || got[2] != "kept" {
		t.Errorf("after a restart %v wait", got)
	}
	if len(n.box.rates["hook"].spent) != spent || len(n.box.incidents) != 1 {
		t.Errorf("%d places are spent, %d incidents are open", len(n.box.rates["hook"].spent), len(n.box.incidents))
	}
}

// An outbox that nothing new comes to mends its file by itself.
func TestAQuietOutboxMendsItsFile(t *testing.T) {
	n := mustOpen(t, t.TempDir(), quiet())
	defer n.Close()
	sick(t, n, "ON")
	m := n.complete(*message("a"))
	n.put(&m)
	sick(t, n, "OFF")
	n.box.next("nobody", time.Now())
	if err := n.Trouble(); err != nil {
		t.Error(err)
	}
}

// An entry whose message is missing is told of.
func TestAnEntryWithoutItsMessageIsCounted(t *testing.T) {
	o := newOutbox(nil, time.Hour)
	if unread := o.restore(rowsOf{entries: []*entryRow{{message: "gone"}}}); unread != 1 || len(o.entries) != 0 {
		t.Errorf("%d unread, %d wait", unread, len(o.entries))
	}
}
