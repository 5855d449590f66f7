package tablestore

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// stored is all that the store holds.
func stored(t testing.TB, s *Server) string {
	t.Helper()
	it, err := s.store.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var b strings.Builder
	for it.First(); it.Valid(); it.Next() {
		fmt.Fprintf(&b, "%x=%x\n", it.Key(), it.Value())
	}
	return b.String()
}

// grown measures what a test leaves behind: call it before, and what it returns
// after.
func grown(t *testing.T, s *Server) func() {
	t.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the second empties pools
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	s.Forget()
	goroutines, bytes := runtime.NumGoroutine(), heap()
	return func() {
		t.Helper()
		await(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
		s.Forget()
		if now := heap(); now > bytes+4<<20 {
			t.Errorf("%d bytes more than before", now-bytes)
		}
	}
}

// TestHostileBodies: bodies that are cut off, forged, or of another operation
// end in the documented error, and nothing is stored.
func TestHostileBodies(t *testing.T) {
	s := frontServer(t, Options{})
	s.ask("CreateTable", createRequest("orders")).wants(t, s, 200, "", "")
	tr := &http.Transport{}
	client := &http.Client{Transport: tr}
	measure := grown(t, s)
	before := stored(t, s)
	bodies := map[string][]byte{}
	for op, m := range seeds() {
		b, err := proto.Marshal(protoadapt.MessageV2Of(m))
		if err != nil {
			t.Fatal(err)
		}
		bodies[op] = b
	}
	bodies["CreateTable"], _ = proto.Marshal(protoadapt.MessageV2Of(createRequest("lines"))) // of a table that is not there
	writes := []string{"CreateTable", "UpdateTable", "DeleteTable", "PutRow", "UpdateRow", "DeleteRow", "BatchWriteRow"}
	send := func(op string, body []byte, why string) {
		q := s.ask(op, nil)
		q.body, q.client = body, client
		g, err := q.do(t, s)
		if err != nil {
			t.Fatalf("%s %s: %v", op, why, err)
		}
		if known, ok := codes[g.code]; g.StatusCode != 200 && (!ok || known.status != g.StatusCode || g.text == "" || g.StatusCode >= 500) {
			t.Errorf("%s %s: %d %s %q", op, why, g.StatusCode, g.code, g.text)
		}
		if err := checkPython(g, q.path, q.id, q.secret); err != nil {
			t.Errorf("%s %s: %v", op, why, err)
		}
	}
	for op, body := range bodies {
		if !slices.Contains(writes, op) {
			continue
		}
		for i := range len(body) {
			if op == "UpdateTable" && i > 8 { // less of it is a request as well
				break
			}
			send(op, body[:i], fmt.Sprintf("cut off at %d", i))
		}
		for other := range bodies {
			same := other == op || op == "DeleteTable" || // that wants no more than a name
				op == "PutRow" && other == "UpdateRow" || op == "UpdateRow" && other == "PutRow"
			if slices.Contains(writes, other) && !same {
				send(op, bodies[other], "as "+other)
			}
		}
		send(op, bytes.Repeat([]byte{0xff}, 1000), "of ones")
		send(op, append([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x07}, body...), "of a length of 2 GB")
		send(op, append([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, body...), "of a negative length")
		send(op, make([]byte, maxBody), "5 MB of zeros")
	}
	// Rows that are damaged inside a sound message.
	row := seeds()["PutRow"].(*otsprotocol.PutRowRequest).Row
	for name, change := range map[string]func([]byte) []byte{
		"cell checksum": func(b []byte) []byte { b[len(b)-4] ^= 1; return b },
		"row checksum":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"header":        func(b []byte) []byte { b[0] ^= 1; return b },
		"value":         func(b []byte) []byte { b[bytes.IndexByte(b, 'k')] ^= 1; return b },
		"length":        func(b []byte) []byte { b[7], b[8], b[9], b[10] = 0xff, 0xff, 0xff, 0x7f; return b },
		"more":          func(b []byte) []byte { return append(b, 1) },
		"twice":         func(b []byte) []byte { return append(b, b[4:]...) },
		"nothing":       func([]byte) []byte { return []byte{} },
	} {
		m := &otsprotocol.PutRowRequest{TableName: proto.String("orders"), Row: change(bytes.Clone(row)), Condition: &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}}
		g, err := s.ask("PutRow", m).do(t, s)
		if err != nil || g.StatusCode != 400 || g.code != "OTSParameterInvalid" {
			t.Errorf("row with a broken %s: %v %s %q %v", name, g.Response, g.code, g.text, err)
		}
	}
	// Who may not, stores nothing, however sound the request.
	for op, body := range bodies {
		for name, spoil := range map[string]func(*ask){
			"signature": func(q *ask) { q.secret = "wrong" },
			"digest":    func(q *ask) { q.header["x-ots-contentmd5"] = "wrong" },
			"clock":     func(q *ask) { q.header["x-ots-date"] = "2020-01-01T00:00:00Z" },
			"instance":  func(q *ask) { q.header["x-ots-instancename"] = "nowhere" },
			"method":    func(q *ask) { q.method = "PUT" },
		} {
			q := s.ask(op, nil)
			q.body, q.client = body, client
			spoil(&q)
			if g, err := q.do(t, s); err != nil || g.StatusCode/100 != 4 {
				t.Errorf("%s with a wrong %s: %v %v", op, name, g.Response, err)
			}
		}
	}
	if after := stored(t, s); after != before {
		t.Errorf("something was stored:\n%s", after)
	}
	tr.CloseIdleConnections()
	measure()
	// And with all that the sound ones do well.
	for _, op := range []string{"PutRow", "GetRow", "BatchWriteRow", "DeleteTable"} {
		q := s.ask(op, nil)
		q.body = bodies[op]
		q.wants(t, s, 200, "", "")
	}
}

// TestManyHostileConnections leave nothing behind: heads and bodies that do not
// end, big bodies at once, and clients that go away in the middle.
func TestManyHostileConnections(t *testing.T) {
	s := frontServer(t, Options{HeaderTimeout: 500 * time.Millisecond, BodyTimeout: 500 * time.Millisecond})
	served := func() bool { // where the machine is busy, a good client may be too slow for once
		g, err := s.ask("ListTable", nil).do(t, s)
		return err == nil && g.StatusCode == 200
	}
	await(t, "an answer", served)
	measure := grown(t, s)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			c, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			head := "POST /PutRow HTTP/1.1\r\nHost: a\r\nx-ots-date: x\r\n"
			switch i % 5 {
			case 0: // a head that does not end
				fmt.Fprintf(c, "%s", head)
				_, _ = io.Copy(io.Discard, c)
			case 1: // a body that does not end
				fmt.Fprintf(c, "%sContent-Length: 5000000\r\n\r\nx", head)
				_, _ = io.Copy(io.Discard, c)
			case 2: // 5 MB, and gone before the answer
				fmt.Fprintf(c, "%sContent-Length: 5000000\r\n\r\n", head)
				_, _ = c.Write(make([]byte, 5_000_000))
			case 3: // gone in the middle
				fmt.Fprintf(c, "%sContent-Length: 5000000\r\n\r\n", head)
				_, _ = c.Write(make([]byte, 1_000_000))
			case 4: // nonsense
				_, _ = c.Write(bytes.Repeat([]byte{0x16, 0x03, 0x01}, 10_000))
				_, _ = io.Copy(io.Discard, c)
			}
		})
	}
	wg.Wait()
	measure()
	await(t, "an answer", served)
}

// FuzzFront: whatever comes in, the answer is one that the protocol knows,
// nothing panics, and nobody gets in who does not have the secret.
func FuzzFront(f *testing.F) {
	s := frontServer(f, Options{Keys: []Key{{ID: "LTAI", Secret: random(20)}}})
	f.Add("POST", "/ListTable", "LTAI", "lab", "1B2M2Y8AsgTpgAmY7PhCfg==", "x", "2026-01-01T00:00:00Z", []byte{})
	f.Add("GET", "/", "", "", "", "", "", []byte{})
	f.Add("POST", "/tunnel/create", "x", "\x00", "=", "==", "Mon, 23 Nov 2026 02:39:53 GMT", []byte("x"))
	f.Fuzz(func(t *testing.T, method, path, key, instance, sum, signature, date string, body []byte) {
		if date == "now" || len(date) > 30 {
			date = time.Now().UTC().Format(time.RFC3339)
		}
		if sum == "right" {
			sum = contentMD5(body)
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://a/", bytes.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path = path
		for name, v := range map[string]string{
			headerKey: key, headerInstance: instance, headerMD5: sum, headerSignature: signature, headerDate: date, headerVersion: apiVersion,
		} {
			if v != "" {
				r.Header.Set(name, v)
			}
		}
		w := httptest.NewRecorder()
		s.serve(w, r)
		g := got{Response: w.Result(), body: w.Body.Bytes()}
		g.Header = http.Header{}
		for name, v := range w.Header() {
			g.Header.Set(name, v[0])
		}
		var e otsprotocol.Error
		if g.StatusCode == 200 || g.StatusCode >= 500 {
			t.Fatalf("%d %q", g.StatusCode, g.body)
		}
		if g.Header.Get("Content-Type") == "application/xml" {
			return
		}
		if err := proto.Unmarshal(g.body, protoadapt.MessageV2Of(&e)); err != nil || codes[e.GetCode()].status != g.StatusCode || e.GetMessage() == "" {
			t.Fatalf("%d %q %v", g.StatusCode, g.body, err)
		}
		if g.code = e.GetCode(); g.Header.Get("X-Ots-Requestid") == "" || g.Header.Get("X-Ots-Contentmd5") != contentMD5(g.body) {
			t.Fatalf("%v", g.Header)
		}
	})
}

// FuzzOperation: whatever a client that is let in sends to an operation, the
// answer can be sent, is one that the service knows, and no handler panics.
func FuzzOperation(f *testing.F) {
	s, err := newStill(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	ops := []string{}
	all := seeds()
	for op := range all {
		ops = append(ops, op)
	}
	slices.Sort(ops)
	do := func(t testing.TB, op string, body []byte) {
		c := &call{s: s, op: op, inst: s.instance("lab"), key: s.Key(), body: body, now: time.Now(), id: requestID(time.Now()), tables: tablesOf(op, body)}
		for _, gate := range gates {
			if ref := gate(s, c); ref != nil {
				return
			}
		}
		m, ref := operations[op](s, c)
		switch {
		case ref != nil && (codes[ref.code].status != ref.status || ref.message == "" || ref.status >= 500):
			t.Fatalf("%s: %+v", op, ref)
		case ref == nil && m != nil:
			if _, err := proto.Marshal(protoadapt.MessageV2Of(m)); err != nil {
				t.Fatalf("%s: %v", op, err)
			}
		}
		if len(c.tables) > maxTables {
			t.Fatalf("%s: %d tables", op, len(c.tables))
		}
	}
	for i, op := range ops {
		b, err := proto.Marshal(protoadapt.MessageV2Of(all[op]))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	create, err := proto.Marshal(protoadapt.MessageV2Of(all["CreateTable"]))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, op uint8, body []byte) {
		if tables := s.Tables(""); len(tables) > 20 {
			for _, x := range tables {
				b, _ := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.DeleteTableRequest{TableName: proto.String(x.Name)}))
				do(t, "DeleteTable", b)
			}
		}
		if ref := func() *refusal { _, ref := s.instance("lab").table("orders"); return ref }(); ref != nil {
			do(t, "CreateTable", create)
		}
		do(t, ops[int(op)%len(ops)], body)
	})
}

// TestOperationsOnNonsense is FuzzOperation without a fuzzer: each operation
// gets its own request with bytes changed at random.
func TestOperationsOnNonsense(t *testing.T) {
	s := frontServer(t, Options{})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	r := rand.New(rand.NewPCG(1, 2))
	for op, m := range seeds() {
		body, err := proto.Marshal(protoadapt.MessageV2Of(m))
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			q := s.ask(op, nil)
			q.client = &http.Client{Transport: tr}
			q.body = bytes.Clone(body)
			for range 1 + r.IntN(3) {
				if len(q.body) > 0 {
					q.body[r.IntN(len(q.body))] = byte(r.Uint32())
				}
			}
			if g, err := q.do(t, s); err != nil || g.StatusCode >= 500 {
				t.Errorf("%s of %x: %v %s %s %v", op, q.body, g.Response, g.code, g.text, err)
			}
		}
	}
}

// TestTheHistoryKeepsNoLongTexts: names that are told back and remembered are
// cut, and what was cut off is not kept with them.
func TestTheHistoryKeepsNoLongTexts(t *testing.T) {
	s := frontServer(t, Options{})
	s.ask("CreateTable", createRequest("orders")).wants(t, s, 200, "", "")
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	long := strings.Repeat("n", 1<<20)
	stream := &otsprotocol.UpdateTableRequest{TableName: proto.String("orders"), StreamSpec: &otsprotocol.StreamSpecification{
		EnableStream: proto.Bool(true), ExpirationTime: proto.Int32(24), ColumnsToGet: []string{long},
	}}
	for range 32 {
		for op, m := range map[string]protoadapt.MessageV1{
			"DescribeTable": describeRequest(long), "UpdateTable": stream,
			"DescribeStream": &otsprotocol.DescribeStreamRequest{StreamId: proto.String("orders_" + long)},
		} {
			g, err := s.ask(op, m).do(t, s)
			if err != nil || g.code != "OTSParameterInvalid" && op != "DescribeStream" || len(g.text) > 1<<10 {
				t.Fatalf("%s: %s with a text of %d bytes, %v", op, g.code, len(g.text), err)
			}
		}
	}
	if n := len(s.Requests(Filter{})); n != 97 {
		t.Errorf("%d requests are remembered", n)
	}
	if now := heap(); now > before+8<<20 {
		t.Errorf("%d bytes more than before", now-before)
	}
}
