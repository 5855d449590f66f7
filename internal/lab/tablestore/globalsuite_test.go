package tablestore_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
)

// TestSDKGlobalTableSuite runs the suite that the vendor tests global tables of
// its SDK for Go with, between two servers. TestUnbindGlobalTable is left out:
// it waits a minute to see that nothing comes; it passed by hand.
func TestSDKGlobalTableSuite(t *testing.T) {
	bin, sources := buildSDKSuite(t)
	k := tablestore.Key{ID: "suite", Secret: "secret"}
	globals := tablestore.NewGlobals()
	a := start(t, tablestore.Options{Globals: globals, Region: "cn-hangzhou", Keys: []tablestore.Key{k}})
	b := start(t, tablestore.Options{Globals: globals, Region: "cn-shanghai", Keys: []tablestore.Key{k}})

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	want := []string{"TestBindGlobalTable", "TestCreateGlobalTable", "TestDescribeGlobalTable", "TestUpdateGlobalTable"}
	cmd := exec.CommandContext(ctx, bin, "-test.run=^TestApi$", "-check.v", `-check.f=^GlobalTableSuite\.(`+strings.Join(want, "|")+`)$`)
	cmd.Dir = sources
	cmd.Env = append(os.Environ(), "SUITE_ENDPOINT="+a.Endpoint(), "SUITE_INSTANCE=lab", "SUITE_ID="+k.ID, "SUITE_SECRET="+k.Secret,
		"SUITE_REGION=cn-hangzhou", "SUITE_ENDPOINT_2="+b.Endpoint(), "SUITE_REGION_2=cn-shanghai", "NO_PROXY=127.0.0.1")
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v", err)
	}
	var passed []string
	for _, m := range regexp.MustCompile(`(?m)^PASS: .*GlobalTableSuite\.(\w+)`).FindAllSubmatch(out, -1) {
		passed = append(passed, string(m[1]))
	}
	slices.Sort(passed)
	if !slices.Equal(passed, want) {
		t.Errorf("%v pass, want %v:\n%s", passed, want, out)
	}
}
