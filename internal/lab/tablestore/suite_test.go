package tablestore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
)

const sdkModule = "github.com/aliyun/aliyun-tablestore-go-sdk"

// suiteTests are all tests of the SDK's own TableStoreSuite (v1.9.3,
// tablestore/api_test.go): nothing for those that must pass, and otherwise
// what gocheck says of the test, and why.
var suiteTests = map[string]struct{ verdict, why string }{
	"TestAtomicBatchWriteRowWithDiffPartitionKey": {},
	"TestAtomicBatchWriteRowWithSamePartitionKey": {},
	"TestBatchGetRow":                              {},
	"TestBatchGetRowWithFilter":                    {},
	"TestBatchWriteRow":                            {},
	"TestBatchWriteRowReturnColumn":                {},
	"TestBatchWriteRowReturnPK":                    {},
	"TestComputeNewRetryInterval":                  {},
	"TestCreateTable":                              {},
	"TestCreateTableAndPutRow":                     {},
	"TestCreateTableNameLengthLimit":               {},
	"TestCreateTableWithOriginColumn":              {},
	"TestCreateTableWithStream":                    {},
	"TestDescribeTableCreationTime":                {},
	"TestFailureCase":                              {},
	"TestFuzzyGetRangeMatrix":                      {},
	"TestGetRange":                                 {},
	"TestGetRangeWithFilter":                       {},
	"TestGetRangeWithMinMaxValue":                  {},
	"TestGetRangeWithPagination":                   {},
	"TestListStream":                               {},
	"TestListTable":                                {},
	"TestMockHttpClientCase":                       {},
	"TestNewClientWithConfig":                      {},
	"TestNewClientWithCredentialsProvider":         {},
	"TestNewClientWithV4Credentials":               {},
	"TestNewClientWithV4CredentialsAndEmptyRegion": {},
	"TestPutGetRow":                                {},
	"TestPutGetRowWithFilter":                      {},
	"TestPutGetRowWithTimestamp":                   {},
	"TestPutRowsWorkload":                          {},
	"TestPutUpdateDeleteRow":                       {},
	"TestReCreateTableAndPutRow":                   {},
	"TestStream":                                   {},
	"TestTableWithKeyAutoIncrement":                {},
	"TestUnit":                                     {},
	"TestUpdateAndDescribeTable":                   {},
	"TestUserSetTraceIDAlwaysRetry":                {},

	"TestSQL":           {"FAIL", "SQLQuery is refused: the lab has no SQL"},
	"TestSQLWithSearch": {"FAIL", "SQLQuery is refused: the lab has no SQL and no search index"},
	"TestSQLTimeSeries": {"SKIP", "the suite itself wants an instance with a prepared time series table"},
}

// sdkFiles are the folders of the module that the suite is built from. Of the
// tests only these files come along; the others are of search, time series,
// tunnels and of the SDK alone, and need more modules.
var (
	sdkFolders = []string{"common", "tablestore", "testConfig"}
	sdkTests   = []string{"tablestore/api_test.go", "tablestore/search_api_test.go", "tablestore/globaltable_api_test.go"}
)

// sdkEdits are all changes to the suite: it asks the environment where the
// service is, and leaves out what prepares search and SQL.
var sdkEdits = []struct{ file, old, new string }{
	{"testConfig/config.go", "package testConfig\n", "package testConfig\n\nimport \"os\"\n"},
	{"testConfig/config.go", `"http://ots.cicd-master-dev.ots-internal.aliyun-inc.com"`, `os.Getenv("SUITE_ENDPOINT")`},
	{"testConfig/config.go", `"gosdk-gate"`, `os.Getenv("SUITE_INSTANCE")`},
	{"testConfig/config.go", "\tOtsAccessId  = \"\"\n", "\tOtsAccessId  = os.Getenv(\"SUITE_ID\")\n"},
	{"testConfig/config.go", "\tOtsAccessKey = \"\"\n", "\tOtsAccessKey = os.Getenv(\"SUITE_SECRET\")\n"},
	{"testConfig/config.go", "\tRegion       = \"\"\n", "\tRegion       = os.Getenv(\"SUITE_REGION\")\n"},
	{"testConfig/config.go", "\tOtsGlobalTablePlacementEndpoint     = \"\"\n", "\tOtsGlobalTablePlacementEndpoint     = os.Getenv(\"SUITE_ENDPOINT_2\")\n"},
	{"testConfig/config.go", "\tOtsGlobalTablePlacementInstanceName = \"\"\n", "\tOtsGlobalTablePlacementInstanceName = os.Getenv(\"SUITE_INSTANCE\")\n"},
	{"testConfig/config.go", "\tOtsGlobalTablePlacementRegion       = \"\"\n", "\tOtsGlobalTablePlacementRegion       = os.Getenv(\"SUITE_REGION_2\")\n"},
	{"tablestore/api_test.go", `	// prepare sql tables
	deleteTable(sqlTableName)
	deleteSearchIndex(sqlTableNameWithSearch, sqlSearchName)
	deleteTable(sqlTableNameWithSearch)

	PrepareSQLTable(sqlTableName)
	PrepareSQLTable(sqlTableNameWithSearch)
	PrepareSQLSearchIndex(c, sqlTableNameWithSearch, sqlSearchName)
	WaitDataSyncByMatchAllQuery(c, client, 4, sqlTableNameWithSearch, sqlSearchName, 40)
`, ""},
}

// TestSDKSuite runs the suite that the vendor tests its SDK for Go with. On two
// cores the suite takes about 7 s, most of it 10 000 puts and 2 s that it
// sleeps, and the first build 15 s.
func TestSDKSuite(t *testing.T) {
	bin, sources := buildSDKSuite(t)
	s := start(t, tablestore.Options{})

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.run=^TestApi$", "-check.v", `-check.f=^TableStoreSuite\.`)
	cmd.Dir = sources // gocheck quotes the lines that fail
	k := s.Keys()[0]
	cmd.Env = append(os.Environ(), "SUITE_ENDPOINT="+s.Endpoint(), "SUITE_INSTANCE=lab", "SUITE_ID="+k.ID, "SUITE_SECRET="+k.Secret,
		"SUITE_REGION=cn-hangzhou", "NO_PROXY=127.0.0.1")
	out, err := cmd.Output() // what the suite logs goes to standard error
	if ctx.Err() != nil {
		t.Errorf("the suite did not end: %v", ctx.Err())
	}
	verdicts := gocheckVerdicts(out)
	if len(verdicts) == 0 {
		t.Fatalf("%v: the suite says nothing of any test:\n%s", err, out)
	}
	passed := 0
	for _, v := range verdicts {
		want, known := suiteTests[v.test]
		wanted := want.verdict
		if wanted == "" {
			wanted = "PASS"
		}
		switch {
		case !known:
			t.Errorf("%s: %s, and no row of the table is for it\n%s", v.verdict, v.test, v.text)
		case v.verdict != wanted:
			t.Errorf("%s: %s, want %s %s\n%s", v.verdict, v.test, wanted, want.why, v.text)
		case v.verdict == "PASS":
			passed++
		}
	}
	for name := range suiteTests {
		if !slices.ContainsFunc(verdicts, func(v gocheckVerdict) bool { return v.test == name }) {
			t.Errorf("%s was not run", name)
		}
	}
	t.Logf("%d of %d tests of the suite pass", passed, len(suiteTests))
	if passed < 31 {
		t.Errorf("only %d pass", passed)
	}
}

// buildSDKSuite copies the module that go.mod pins, makes sdkEdits and builds
// the suite with the requirements of testdata/sdk. It returns the program and
// the folder where the names of source files in it begin.
func buildSDKSuite(t *testing.T) (bin, sources string) {
	t.Helper()
	from := strings.TrimSpace(goTool(t, ".", "list", "-m", "-f", "{{.Dir}}", sdkModule))
	if from == "" {
		t.Fatalf("%s is not in the module cache: run go mod download", sdkModule)
	}
	sources = t.TempDir()
	to := filepath.Join(sources, filepath.FromSlash(sdkModule))
	for _, dir := range sdkFolders {
		err := filepath.WalkDir(filepath.Join(from, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.MkdirAll(filepath.Join(to, rel), 0o755)
			}
			if filepath.Ext(rel) != ".go" || strings.HasSuffix(rel, "_test.go") && !slices.Contains(sdkTests, filepath.ToSlash(rel)) {
				return nil
			}
			return copyFile(path, filepath.Join(to, rel))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := copyFile(filepath.Join("testdata/sdk", name), filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range sdkEdits {
		file := filepath.Join(to, e.file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte(e.old)); n != 1 {
			t.Fatalf("%s has %d times, not once:\n%s", e.file, n, e.old)
		}
		if err := os.WriteFile(file, bytes.Replace(text, []byte(e.old), []byte(e.new), 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, version := range requirements(t, "testdata/sdk") {
		if want := requirements(t, from)[path]; want != version {
			t.Errorf("testdata/sdk/go.mod requires %s %s, the SDK %q: write it anew with go mod tidy in a copy of the folders that are built", path, version, want)
		}
	}
	bin = filepath.Join(t.TempDir(), "suite.test")
	// Without the path of the folder in it the build is found in the cache.
	goTool(t, to, "test", "-c", "-trimpath", "-o", bin, "./tablestore")
	return bin, sources
}

// requirements are the direct ones of the go.mod in a folder.
func requirements(t *testing.T, dir string) map[string]string {
	t.Helper()
	var mod struct {
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	if err := json.Unmarshal([]byte(goTool(t, ".", "mod", "edit", "-json", filepath.Join(dir, "go.mod"))), &mod); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, r := range mod.Require {
		if !r.Indirect {
			all[r.Path] = r.Version
		}
	}
	return all
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// goTool runs the go command in a folder and returns its output.
func goTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// gocheckVerdict is what gocheck says of one test, or of what is to be done
// before or after tests, with what it says further.
type gocheckVerdict struct{ verdict, test, text string }

var gocheckLine = regexp.MustCompile(`^(PASS|FAIL|SKIP|MISS|PANIC|FAIL EXPECTED): (?:[^ :]+:\d+: )?TableStoreSuite\.(\w+)`)

// gocheckVerdicts reads what -check.v writes: a line for each test, and
// between rules the story of one that failed.
func gocheckVerdicts(out []byte) []gocheckVerdict {
	var all []gocheckVerdict
	for line := range strings.Lines(string(out)) {
		if m := gocheckLine.FindStringSubmatch(line); m != nil {
			all = append(all, gocheckVerdict{verdict: m[1], test: m[2]})
		} else if n := len(all) - 1; n >= 0 && all[n].verdict != "PASS" && len(all[n].text) < 4000 {
			all[n].text += line
		}
	}
	return all
}

// TestSDKSuiteVerdictsAreRead: each kind of line of gocheck.
func TestSDKSuiteVerdictsAreRead(t *testing.T) {
	got := gocheckVerdicts([]byte(`2026/11/23 02:39:53 noise
PASS: api_test.go:270: TableStoreSuite.TestOne	0.003s

----------------------------------------------------------------------
FAIL: api_test.go:337: TableStoreSuite.TestTwo

api_test.go:340:
    c.Check(err, Equals, nil)
... obtained *tablestore.OtsError = &x

SKIP: api_test.go:2868: TableStoreSuite.TestThree (because)
PANIC: api_test.go:60: TableStoreSuite.SetUpSuite
MISS: api_test.go:1: TableStoreSuite.TestFour
OOPS: 1 passed, 1 FAILED
PASS: api_test.go:270: OtherSuite.TestOne	0.003s
`))
	var short []string
	for _, v := range got {
		short = append(short, v.verdict+" "+v.test)
	}
	if want := []string{"PASS TestOne", "FAIL TestTwo", "SKIP TestThree", "PANIC SetUpSuite", "MISS TestFour"}; !slices.Equal(short, want) {
		t.Errorf("%q", short)
	}
	if !strings.Contains(got[1].text, "obtained") {
		t.Errorf("%q", got[1].text)
	}
}
