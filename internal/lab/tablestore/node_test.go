package tablestore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
)

// nodeSuites are the files of tests that the SDK for Node carries (npm
// tablestore 5.6.5, folder test) with all tests of those that are run, or why
// one is left out.
var nodeSuites = map[string]struct {
	tests []string
	why   string
}{
	"table.test.js":         {tests: []string{"table_test allowUpdate"}},
	"data_opration.test.js": {tests: []string{"data_opration getrow data should equal putrow data"}},
	"long.test.js":          {tests: []string{"Long #fromNumber int64.toNumber() should equal num"}},
	"protocol/plain_buffer.test.js": {tests: []string{
		"plainBuffer attributeColumn_serialize_deserialize deserialized result should equal attributeColumns",
		"plainBuffer primaryKey_serialize_deserialize deserialized result should equal primaryKey",
	}},

	"globalIndex.test.js":    {why: "the lab has no secondary indexes"},
	"knowledge_base.test.js": {why: "of the SDK alone; the lab has no knowledge bases"},
	"search.test.js":         {why: "the lab has no search indexes"},
	"search_old.test.js":     {why: "the lab has no search indexes"},
	"sql.test.js":            {why: "the lab has no SQL"},
	"e2e_knowledge_base.js":  {why: "no suite: a script of knowledge bases"},
	"ots_test_utils.js":      {why: "no suite: what the suites share"},
}

const npm = "testdata/npm"

// TestNodeSuites runs the suites that the vendor bundles with its SDK for Node
// with the runner that they are written for. What they want is installed by
// `make deps`; `make test` leaves them out by name where it cannot be had.
func TestNodeSuites(t *testing.T) {
	folder := filepath.Join(npm, "node_modules", "tablestore", "test")
	if _, err := os.Stat(folder); err != nil {
		t.Fatalf("%v: run make deps, or npm ci in internal/lab/tablestore/%s", err, npm)
	}
	var files []string
	for _, pattern := range []string{"*.js", "*/*.js"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			name, err := filepath.Rel(folder, path)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, filepath.ToSlash(name))
		}
	}
	report := filepath.Join(t.TempDir(), "report.json")
	args := []string{"node_modules/mocha/bin/mocha.js", "--exit", "--reporter=json", "--reporter-option=output=" + report}
	var want []string
	for name, suite := range nodeSuites {
		if !slices.Contains(files, name) {
			t.Errorf("the SDK has no file %s", name)
		} else if suite.why == "" {
			args = append(args, "node_modules/tablestore/test/"+name)
			want = append(want, suite.tests...)
		}
	}
	for _, name := range files {
		if _, known := nodeSuites[name]; !known {
			t.Errorf("no row of the table is for %s", name)
		}
	}

	s := start(t, tablestore.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = npm
	k := s.Keys()[0]
	// What samples/client.js of the SDK reads.
	cmd.Env = append(os.Environ(), "endpoint="+s.Endpoint(), "instancename=lab", "accessKeyId="+k.ID, "secretAccessKey="+k.Secret,
		"NO_PROXY=127.0.0.1", "NODE_OPTIONS=")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	runErr := cmd.Run()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v, %v: %s", runErr, err, output.String())
	}
	type test struct {
		FullTitle string `json:"fullTitle"`
		Err       struct {
			Message, Stack string
		} `json:"err"`
	}
	var said struct{ Passes, Failures, Pending []test }
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var passed []string
	for _, one := range said.Passes {
		passed = append(passed, one.FullTitle)
	}
	slices.Sort(passed)
	slices.Sort(want)
	if !slices.Equal(passed, want) {
		t.Errorf("passed: %q\nwant: %q", passed, want)
	}
	for _, one := range said.Failures {
		t.Errorf("%s: %s\n%s", one.FullTitle, one.Err.Message, one.Err.Stack)
	}
	for _, one := range said.Pending {
		t.Errorf("%s was skipped", one.FullTitle)
	}
	if runErr != nil {
		t.Errorf("%v: %s", runErr, output.String())
	}

	// They were here: each leaves its table.
	tables, err := client(t, s).ListTable()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(tables.TableNames)
	if !slices.Equal(tables.TableNames, []string{"dataTestTable", "js_test_table"}) {
		t.Errorf("tables after the suites: %q", tables.TableNames)
	}
}
