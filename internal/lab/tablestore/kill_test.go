package tablestore_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

const (
	childDir = "TABLESTORE_CHILD_DIR"
	killKey  = "LTAIkill"
	killPass = "secret"
)

// childServer is the process that is killed: this test binary, told so by its
// environment.
func childServer(dir string) error {
	s, err := tablestore.New(tablestore.Options{DataDir: dir, Keys: []tablestore.Key{{ID: killKey, Secret: killPass}}})
	if err != nil {
		return err
	}
	fmt.Println("endpoint", s.Endpoint())
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent is gone
	return err
}

func startChild(t *testing.T, dir string) (*world, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if endpoint, ok := strings.CutPrefix(lines.Text(), "endpoint "); ok {
			conf := sdk.NewDefaultTableStoreConfig()
			conf.RetryTimes = 0
			return &world{TB: t, TableStoreClient: sdk.NewClientWithConfig(endpoint, "lab", killKey, killPass, "", conf)}, cmd
		}
		t.Log(lines.Text())
	}
	t.Fatalf("the child says no endpoint: %v", cmd.Wait())
	return nil, nil
}

// killed is what a writer knows: what it was told is done, and what it has
// asked for since.
type killed struct {
	mu            sync.Mutex
	singles       []string
	batches       map[string]bool // asked for; true: acknowledged
	added, wanted int64           // to the number
}

const killBatch = 5

func TestAKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills 32 processes")
	}
	dir := t.TempDir()
	know := &killed{batches: map[string]bool{}}
	for round := range 32 {
		w, cmd := startChild(t, dir)
		if round == 0 {
			w.create("t", "p:s q:i", func(r *sdk.CreateTableRequest) {
				r.StreamSpec = &sdk.StreamSpecification{EnableStream: true, ExpirationTime: 24}
			})
		} else {
			know.hold(t, w)
		}
		var done sync.WaitGroup
		first := make(chan struct{}, 8)
		stop := make(chan struct{})
		write := func(do func(n int) error) {
			done.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					if do(round*1_000_000+n) != nil {
						return // it is dead, or will be
					}
					select {
					case first <- struct{}{}:
					default:
					}
				}
			})
		}
		write(func(n int) error { return know.single(w, n) })
		write(func(n int) error { return know.batch(w, n) })
		write(func(int) error { return know.add(w) })
		select {
		case <-first:
		case <-time.After(time.Minute):
			t.Error("nothing is written")
		}
		// Killed somewhere in the midst of the writes.
		<-time.After(rand.N(40 * time.Millisecond))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		close(stop)
		done.Wait()
		_ = cmd.Wait()
		if t.Failed() {
			return
		}
	}
	w, cmd := startChild(t, dir)
	know.hold(t, w)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	t.Logf("%d rows, %d batches, %d added", len(know.singles), len(know.batches), know.added)
}

func (k *killed) single(w *world, n int) error {
	name := fmt.Sprintf("single %09d", n)
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf("t", key("p", name, "q", 0), "c", n)})
	if err == nil {
		k.mu.Lock()
		k.singles = append(k.singles, name)
		k.mu.Unlock()
	}
	return err
}

func (k *killed) batch(w *world, n int) error {
	name := fmt.Sprintf("batch %09d", n)
	b := &sdk.BatchWriteRowRequest{IsAtomic: true}
	for q := range killBatch {
		b.AddRowChange(putOf("t", key("p", name, "q", q), "c", q))
	}
	k.mu.Lock()
	k.batches[name] = false
	k.mu.Unlock()
	_, err := w.BatchWriteRow(b)
	if err == nil {
		k.mu.Lock()
		k.batches[name] = true
		k.mu.Unlock()
	}
	return err
}

func (k *killed) add(w *world) error {
	u := updateOf("t", key("p", "number", "q", 0))
	u.IncrementColumn("n", 1)
	k.mu.Lock()
	k.wanted++
	k.mu.Unlock()
	_, err := w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
	if err == nil {
		k.mu.Lock()
		k.added++
		k.mu.Unlock()
	}
	return err
}

// hold holds a server that has come back against what is known.
func (k *killed) hold(t *testing.T, w *world) {
	t.Helper()
	rows := map[string]int{}
	number := int64(0)
	from := key("p", minKey, "q", minKey)
	for pages := 0; from != nil; pages++ {
		if pages > 1000 {
			t.Fatal("the range has no end")
		}
		r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: "t", StartPrimaryKey: from, EndPrimaryKey: key("p", maxKey, "q", maxKey), Direction: sdk.FORWARD, MaxVersion: 1,
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			p := row.PrimaryKey.PrimaryKeys[0].Value.(string)
			if rows[p]++; p == "number" {
				number = row.Columns[0].Value.(int64)
			}
		}
		from = r.NextStartPrimaryKey
	}
	for _, p := range k.singles {
		if rows[p] != 1 {
			t.Errorf("%s was acknowledged and is gone", p)
		}
	}
	for p, acked := range k.batches {
		if n := rows[p]; n != killBatch && (acked || n != 0) {
			t.Errorf("%s has %d rows of %d, acknowledged: %v", p, n, killBatch, acked)
		}
	}
	if number < k.added || number > k.wanted {
		t.Errorf("the number is %d, acknowledged %d of %d", number, k.added, k.wanted)
	}
	k.added, k.wanted = number, number
}
