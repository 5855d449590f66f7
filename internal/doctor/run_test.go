package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSelectTakesIdsAndGroups(t *testing.T) {
	ids, unknown := Select([]string{"files", "dns.cname"})
	if want := []string{"dns.cname", "files.data", "files.secrets"}; unknown != "" || !slices.Equal(ids, want) {
		t.Errorf("%q %q", ids, unknown)
	}
	if ids, _ := Select(nil); len(ids) != len(Catalogue) {
		t.Errorf("nothing named is %d of %d", len(ids), len(Catalogue))
	}
	for _, odd := range []string{"dn", "dns.cnam", "", "dns."} {
		if _, unknown := Select([]string{"channels", odd}); unknown != odd {
			t.Errorf("%q is taken", odd)
		}
	}
}

// TestRunEndsWhateverACheckDoes: one that hangs, one that breaks and one that
// is not begun in time are said to be so, and the others are there.
func TestRunEndsWhateverACheckDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		release := make(chan struct{})
		began := time.Now()
		var progress []string
		say := func(f Finding) func(context.Context) []Finding {
			return func(context.Context) []Finding { return []Finding{f, {ID: "dns.types", Verdict: Fail}} }
		}
		fs := Run(ctx, []Check{
			{IDs: []string{"channels"}, About: "hangs", Look: func(context.Context) []Finding { <-release; return nil }},
			{IDs: []string{"dns.cname"}, About: "breaks", Look: func(context.Context) []Finding { panic("oh") }},
			{IDs: []string{"dns.ttl"}, About: "obeys", Time: time.Second, Look: func(ctx context.Context) []Finding {
				<-ctx.Done()
				return []Finding{Skip("dns.ttl", "obeys", "in part")}
			}},
			{IDs: []string{"files.data"}, About: "well", Look: say(Finding{ID: "files.data", Verdict: OK})},
			{IDs: []string{"dns.types"}, About: "not asked for", Look: func(context.Context) []Finding { t.Error("it ran"); return nil }},
			{IDs: []string{"ledger.sync"}, About: "too late", Look: say(Finding{ID: "ledger.sync", Verdict: OK})},
		}, Options{
			Only: []string{"dns.cname", "dns.ttl", "files.data", "ledger.sync", "channels", "clock.dns"}, Concurrent: 1,
			Each: 5 * time.Second,
			Progress: func(ended, all int, about string) {
				progress = append(progress, fmt.Sprintf("%d/%d %s", ended, all, about))
			},
		})
		if took := time.Since(began); took != 3*time.Second+grace {
			t.Errorf("one that hangs held all up for %s", took)
		}
		close(release)
		synctest.Wait()
		var got []string
		for _, f := range fs {
			got = append(got, fmt.Sprintf("%s %s %s: %s", f.Verdict, f.ID, f.About, f.Evidence))
		}
		want := []string{
			"skipped clock.dns : there is nothing here to look at",
			"skipped dns.cname breaks: not begun: the time of all checks together was over",
			"skipped dns.ttl obeys: not begun: the time of all checks together was over",
			"skipped ledger.sync too late: not begun: the time of all checks together was over",
			"skipped files.data well: not begun: the time of all checks together was over",
			"skipped channels hangs: no end within 5s",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if progress[0] != "0/5 hangs" || progress[len(progress)-1] != "5/5 too late" {
			t.Errorf("progress: %q", progress)
		}
	})
}

func TestRunKeepsWhatOthersFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Run(t.Context(), []Check{
			{IDs: []string{"dns.cname"}, About: "breaks", Look: func(context.Context) []Finding { panic("oh") }},
			{IDs: []string{"dns.ttl"}, About: "obeys", Time: time.Second, Look: func(ctx context.Context) []Finding {
				<-ctx.Done()
				return []Finding{Skip("dns.ttl", "obeys", "in part")}
			}},
		}, Options{Only: []string{"dns.cname", "dns.ttl"}})
		verdictIs{"dns.cname", Warn, "the check itself broke: oh", "report it"}.check(t, fs)
		verdictIs{"dns.ttl", Skipped, "in part", ""}.check(t, fs)
	})
}

func TestMergeMakesOneOfTheSame(t *testing.T) {
	var fs []Finding
	for i := range 9 {
		fs = append(fs, Finding{ID: "dns.cname", About: fmt.Sprint("n", i), Verdict: OK, Evidence: "x"})
	}
	fs = append(fs, Finding{ID: "dns.cname", About: "bad", Verdict: Fail, Evidence: "y"}, Finding{ID: "config.valid", Verdict: OK})
	got := Merge(fs)
	if len(got) != 3 || got[0].ID != "config.valid" || got[1].About != "bad" || got[2].About != "n0, n1, n2, n3, n4 and 4 more" {
		t.Errorf("%+v", got)
	}
}
