package notify

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// child queues messages durably, says so, and waits to be killed. Its receiver
// is never reached.
func child(dir string) {
	n, err := Open(Config{Dir: dir, Setup: crashSetup("http://127.0.0.1:1/"), Name: "ctl-1", Log: quietLog})
	if err != nil {
		panic(err)
	}
	for i := range 3 {
		m := n.complete(*message(fmt.Sprintf("id-%d", i)))
		n.put(&m)
	}
	if err := n.Deliver(nocancel{}, []string{"hook"}, Document{ID: "report-1", Title: "weekly", Summary: "fine", Markdown: "# weekly", PNGs: []Image{{"a.png", []byte{1, 2, 3}}}}); err != nil {
		panic(err)
	}
	if _, ok := n.box.spendNow("hook", time.Now()); !ok {
		panic("no place")
	}
	// One parcel is pinned, as it is when a try is on its way.
	p, _ := n.box.next("hook", time.Now())
	fmt.Println("queued", p.id)
	select {}
}

func crashSetup(url string) Setup {
	return Setup{Channels: []Channel{
		{Name: "hook", Type: Webhook, URL: url, Secret: []byte("0123456789abcdef"), Info: true, Allow: loopback, Limits: []Limit{{Count: 100, Per: time.Hour}}, Timeout: time.Minute},
	}}
}

// A process that is killed between queueing and sending loses nothing: what was
// pinned comes with the same ID and the same content, and its rate is spent.
func TestWhatIsQueuedOutlivesAKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NOTIFY_TEST_CHILD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	k, err := out.Read(buf)
	said := strings.Fields(string(buf[:k]))
	_ = cmd.Process.Kill() // SIGKILL
	_ = cmd.Wait()
	if err != nil || len(said) != 2 {
		t.Fatalf("the child says %q: %v", buf[:k], err)
	}
	pinned := said[1]

	var mu sync.Mutex
	got := map[string]Body{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		data := make([]byte, r.ContentLength)
		_, _ = readFull(r, data)
		b, err := ParseBody(r.Header.Get(HeaderID), data)
		if err := Verify([]byte("0123456789abcdef"), r.Header, data, time.Now(), time.Minute); err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if _, twice := got[b.ID]; twice {
			t.Errorf("%s came twice", b.ID)
		}
		got[b.ID] = b
	})
	n, err := Open(Config{Dir: dir, Setup: crashSetup(url), Name: "ctl-1", Log: quietLog})
	if err != nil {
		t.Fatal(err)
	}
	if spent := len(n.box.rates["hook"].spent); spent != 2 {
		t.Errorf("after the restart %d places are spent, not 2", spent)
	}
	late := n.complete(*message("id-late")) // of the same incident: it does not join what is pinned
	n.put(&late)
	stop := running(t, n)
	await(t, "every parcel", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 3 })
	stop()
	var ids []string
	for _, m := range got[pinned].Messages {
		ids = append(ids, m.ID)
	}
	if !slices.Equal(ids, []string{"id-0", "id-1", "id-2"}) {
		t.Errorf("the pinned digest %s holds %v", pinned, ids)
	}
	if d := got["report-1"].Document; d == nil || d.Markdown != "# weekly" {
		t.Errorf("the report came as %+v", got["report-1"])
	}
	if st := n.Stats()[0]; st.Waiting != 0 || st.Sent != 3 {
		t.Errorf("afterwards: %+v", st)
	}
}

// What a receiver asked for holds over a restart, too.
func TestQuietOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	n := mustOpen(t, dir, quiet())
	m := n.complete(*message("1"))
	n.put(&m)
	now := time.Now()
	p, _ := n.box.next("hook", now)
	n.box.done(p, &throttled{10 * time.Minute, "too fast"}, now)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = mustOpen(t, dir, quiet())
	defer n.Close()
	if p, _ := n.box.next("hook", now.Add(9*time.Minute)); p != nil {
		t.Error("it knocks before its time")
	}
	if p, _ := n.box.next("hook", now.Add(11*time.Minute)); p == nil || p.id != "1" {
		t.Errorf("afterwards it is %v", p)
	}
}

func TestAnOutboxThatCannotBeReadIsMovedAside(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"no database": func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("x", 4096)), 0o600) },
		"torn": func(p string) error {
			if err := os.Remove(p + walSuffix); err != nil && !os.IsNotExist(err) {
				return err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			for i := 4096; i < len(data); i++ {
				data[i] ^= 0x5a
			}
			return os.WriteFile(p, data, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := mustOpen(t, dir, quiet())
			m := n.complete(*message("1"))
			n.put(&m)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if err := harm(filepath.Join(dir, File)); err != nil {
				t.Fatal(err)
			}
			log := &lineLog{}
			n = mustOpenLog(t, dir, quiet(), log)
			defer n.Close()
			if !strings.Contains(log.String(), "notify.db cannot be read and is now notify.db.damaged") {
				t.Errorf("the log says %q", log.String())
			}
			m = n.complete(*message("2"))
			n.put(&m)
			if err := n.Trouble(); err != nil || n.Stats()[0].Waiting != 1 {
				t.Errorf("it does not go on: %v, %+v", err, n.Stats())
			}
			if fi, err := os.Stat(filepath.Join(dir, File)); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", fi, err)
			}
		})
	}
}

// A folder that nobody may write into costs durability and no message.
func TestWithoutADiskMessagesWaitInMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &lineLog{}
	n := mustOpenLog(t, dir, quiet(), log)
	m := n.complete(*message("1"))
	n.put(&m)
	if n.Stats()[0].Waiting != 1 || !strings.Contains(log.String(), "messages wait in memory only") {
		t.Errorf("%+v, %q", n.Stats(), log.String())
	}
	if n.Trouble() == nil {
		t.Error("nobody is told that it is not durable")
	}
	n.Close()
}
