package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// tableWorld is a server that was started as people do.
type tableWorld struct {
	t    *testing.T
	dir  string
	env  map[string]string
	said string // as JSON
	end  func() error
}

func startTablestore(t *testing.T, dir string, args ...string) *tableWorld {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"tablestore", "--dir", dir, "-o", "json"}, args...), w, io.Discard)
		_ = w.CloseWithError(errors.Join(err, io.EOF))
		ended <- err
	}()
	var said json.RawMessage
	if err := json.NewDecoder(r).Decode(&said); err != nil {
		cancel()
		t.Fatal(err, <-ended)
	}
	tw := &tableWorld{t: t, dir: dir, said: string(said), env: map[string]string{}}
	tw.end = func() error {
		cancel()
		_, _ = io.Copy(io.Discard, r)
		return <-ended
	}
	var files struct {
		Env string `json:"env_file"`
	}
	if err := json.Unmarshal(said, &files); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(files.Env)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		tw.env[name] = strings.Trim(value, "'")
	}
	return tw
}

// do runs a verb and returns what it printed.
func (w *tableWorld) do(args ...string) (string, error) {
	var out bytes.Buffer
	err := run(w.t.Context(), append([]string{"tablestore"}, append(args, "--dir", w.dir)...), &out, io.Discard)
	return out.String(), err
}

// says runs a verb and expects pieces of what it prints.
func (w *tableWorld) says(verb string, pieces ...string) {
	w.t.Helper()
	out, err := w.do(strings.Fields(verb)...)
	if err != nil {
		w.t.Errorf("%s: %v", verb, err)
	}
	for _, p := range pieces {
		if !strings.Contains(out, p) {
			w.t.Errorf("%s: no %q in\n%s", verb, p, out)
		}
	}
}

func (w *tableWorld) client() *sdk.TableStoreClient {
	tr := &http.Transport{DisableKeepAlives: true}
	cfg := sdk.NewDefaultTableStoreConfig()
	cfg.RetryTimes, cfg.Transport = 0, tr
	return sdk.NewClientWithConfig(w.env["LAB_ENDPOINT"], w.env["LAB_INSTANCE"], w.env["TABLESTORE_ACCESS_KEY_ID"], w.env["TABLESTORE_ACCESS_KEY_SECRET"], "", cfg)
}

func createOrders(t *testing.T, c *sdk.TableStoreClient) {
	t.Helper()
	m := &sdk.TableMeta{TableName: "orders"}
	m.AddPrimaryKeyColumn("id", sdk.PrimaryKeyType_STRING)
	if _, err := c.CreateTable(&sdk.CreateTableRequest{
		TableMeta: m, TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &sdk.ReservedThroughput{},
		StreamSpec: &sdk.StreamSpecification{EnableStream: true, ExpirationTime: 24},
	}); err != nil {
		t.Fatal(err)
	}
}

func put(c *sdk.TableStoreClient, key string) error {
	p := &sdk.PutRowChange{TableName: "orders", PrimaryKey: &sdk.PrimaryKey{}}
	p.PrimaryKey.AddPrimaryKeyColumn("id", key)
	p.AddColumn("n", int64(1))
	p.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	_, err := c.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	return err
}

func codeOf(err error) string {
	var e *sdk.OtsError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// TestTablestoreVerbs tries what the verbs do to a client.
func TestTablestoreVerbs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	w := startTablestore(t, dir, "--instance", "orders", "--instance", "east@cn-shanghai", "--key", "LTAI-a", "--key", "LTAI-b=east", "--tls-name", "a.test")
	for _, name := range []string{"tablestore.env", "tablestore-keys.json"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if strings.Contains(w.said, w.env["TABLESTORE_ACCESS_KEY_SECRET"]) || strings.Contains(w.said, w.env["LAB_TOKEN"]) {
		t.Error("a secret is printed")
	}
	if w.env["LAB_INSTANCE"] != "orders" || !strings.HasPrefix(w.env["LAB_TLS_ENDPOINT"], "https://127.0.0.1:") {
		t.Errorf("%v", w.env)
	}
	c := w.client()
	createOrders(t, c)
	w.says("tables", "orders    orders  id STRING", "orders_")
	w.says("tables --instance east", "instance")
	w.says("status", "answers at http://127.0.0.1:", "instance orders: running", "instance east: running")
	w.says("fault error --code OTSServerBusy --operation PutRow --table orders --times 2", "fault 1")
	w.says("faults", "error  PutRow     orders  any  2")
	if a, b, d := put(c, "k"), put(c, "k"), put(c, "k"); codeOf(a) != "OTSServerBusy" || codeOf(b) != "OTSServerBusy" || d != nil {
		t.Errorf("%v, %v, %v", a, b, d)
	}
	w.says("requests --code OTSServerBusy --last 1", "PutRow", "503", "error", "LTAI-a")
	w.says("fault drop --after --operation PutRow")
	if err := put(c, "k"); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	w.says("partitions orders --instance orders", "0          –")
	w.says("split orders --at m --instance orders", `1          "m"`)
	w.says("fault partition --table orders --instance orders --of z --for 1h")
	if a, b := put(c, "a"), put(c, "z"); a != nil || codeOf(b) != "OTSPartitionUnavailable" {
		t.Errorf("%v, %v", a, b)
	}
	w.says("heal 3")
	if err := put(c, "z"); err != nil {
		t.Error(err)
	}
	w.says("merge orders 0 --instance orders", "0          –")
	w.says("epoch orders 7 --instance orders")
	w.says("trim orders --instance orders", "records are gone")
	w.says("stop orders")
	if err := put(c, "k"); err == nil || !strings.Contains(err.Error(), "The instance is not running.") {
		t.Error(err)
	}
	w.says("start orders")
	w.says("set --clock 20m --stream-delay 2s --stream-tokens 3 --policy-delay 0s", "clock: +1200000 ms", "seen after 2000 ms, 3 tokens", "in force after 0 ms")
	if err := put(c, "k"); err == nil || !strings.Contains(err.Error(), "Mismatch between system time") {
		t.Error(err)
	}
	w.says("set --clock 0s")
	deny := filepath.Join(t.TempDir(), "deny.json")
	if err := os.WriteFile(deny, []byte(`{"Version":"1","Statement":[{"Effect":"Deny","Action":["ots:PutRow"],"Resource":["*"],"Principal":["*"]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.says("policy orders --file "+deny, "version  1", `in force {"Version"`)
	if err := put(c, "k"); codeOf(err) != "OTSNoPermissionAccess" {
		t.Error(err)
	}
	w.says("policy orders --remove --version 1", "newest   –")
	w.says("kill")
	if err := put(c, "k"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	w.says("status", "killed at")
	w.says("revive")
	w.says("stall")
	w.says("status", "stalled at")
	w.says("resume")
	if err := put(c, "k"); err != nil {
		t.Error(err)
	}
	w.says("requests --forget")
	w.says("requests -o json", "[]")
	for line, want := range map[string]string{
		"fault error":                         "which code",
		"fault nonsense":                      `fault "nonsense": there are`,
		"fault partition --table orders":      "several instances",
		"heal 99":                             "there is no fault 99",
		"heal all":                            "there is no fault all",
		"merge orders one":                    "a number from 0",
		"merge orders 5 --instance orders":    "partition 5 has no right neighbour",
		"split lines --instance orders":       `table "lines": there is none`,
		"stop moon":                           "there is no instance moon",
		"set":                                 "nothing to set",
		"set --ready -1s":                     "ready_ms -1000: 0 to",
		"requests --last -1":                  "last -1",
		"policy orders --file x --remove":     "none of the others can be",
		"epoch orders many --instance orders": "a number of 32 bits",
		"status --name east":                  "give --name: there are tablestore",
		"faults -o xml":                       "there are table and json",
		"status --name a/b":                   "a word that can name a file",
		"nonsense":                            "unknown command",
	} {
		if _, err := w.do(strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if err := run(t.Context(), []string{"tablestore", "--dir", dir}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "one called tablestore runs") {
		t.Error(err)
	}
	other := startTablestore(t, dir, "--name", "east", "--key-file", filepath.Join(dir, "tablestore-keys.json"))
	if other.env["TABLESTORE_ACCESS_KEY_ID"] != "LTAI-a" || other.env["TABLESTORE_ACCESS_KEY_SECRET"] != w.env["TABLESTORE_ACCESS_KEY_SECRET"] || other.env["LAB_INSTANCE"] != "lab" {
		t.Errorf("%v", other.env)
	}
	w.says("status --name east", "instance lab: running")
	if err := errors.Join(other.end(), w.end()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if _, err := w.do("status"); err == nil || !strings.Contains(err.Error(), "no tablestore called tablestore runs in") {
		t.Error(err)
	}
}

// TestTablestoreKeepsItsData over two runs, in its folder.
func TestTablestoreKeepsItsData(t *testing.T) {
	dir, data := t.TempDir(), filepath.Join(t.TempDir(), "data")
	w := startTablestore(t, dir, "--data-dir", data)
	createOrders(t, w.client())
	if err := put(w.client(), "k"); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"tablestore", "--dir", t.TempDir(), "--data-dir", data}, io.Discard, io.Discard); err == nil {
		t.Error("two of one folder")
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	w = startTablestore(t, dir, "--data-dir", data)
	w.says("tables", "orders")
	d, err := w.client().DescribeTable(&sdk.DescribeTableRequest{TableName: "orders"})
	if err != nil || d.StreamDetails == nil || !d.StreamDetails.EnableStream {
		t.Errorf("%+v %v", d, err)
	}
	if err := w.end(); err != nil {
		t.Error(err)
	}
}

// TestTablestoreBanner is for people: where it is, what to try, no secrets.
func TestTablestoreBanner(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out syncBuffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"tablestore", "--dir", dir, "--name", "east"}, &out, io.Discard) }()
	for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), "Ctrl-C"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no banner: %s", out.String())
		}
	}
	keys, err := os.ReadFile(filepath.Join(dir, "east-keys.json"))
	var list []struct{ Secret string }
	if err != nil || json.Unmarshal(keys, &list) != nil || len(list) != 1 {
		t.Fatalf("%s %v", keys, err)
	}
	if said := out.String(); strings.Contains(said, list[0].Secret) || !strings.Contains(said, "--name east") || !strings.Contains(said, "in memory") {
		t.Errorf("%s", said)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "east.env")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
