package lab

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

var testKeys = []TableKey{{"LTAIservice", "one"}, {"LTAIclient", "two"}}

func startTableCluster(t *testing.T, data string) *Cluster {
	t.Helper()
	local := netip.MustParseAddr("127.0.0.1")
	port, err := freePort(0, map[uint16]bool{0: true}, []netip.Addr{local})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCluster(ClusterConfig{
		Name: "a", Listen: netip.AddrPortFrom(local, port), Manage: netip.AddrPortFrom(local, 0), Token: "t",
		Tables: &TablesConfig{Data: data, Instances: []string{Orders, Billing}, Keys: testKeys},
	})
	if err != nil {
		t.Fatal(err)
	}
	running(t, c.Run)
	eventually(t, "it may be turned", func() bool { // by then everything is there
		var k Knobs
		return callJSON(t.Context(), "t", http.MethodGet, "http://"+c.ManageAddr().String()+"/knobs", nil, &k) == nil
	})
	return c
}

// once is a client that tries once, over a connection of its own.
func once(c *Cluster, k TableKey) *sdk.TableStoreClient {
	return sdk.NewClientWithConfig("http://"+c.cfg.Listen.String(), Orders, k.ID, k.Secret, "", &sdk.TableStoreConfig{
		HTTPTimeout: sdk.HTTPTimeout{RequestTimeout: 10 * time.Second}, Transport: &http.Transport{DisableKeepAlives: true},
	})
}

// put writes the order of that number.
func put(c *Cluster, n int64) error {
	row := &sdk.PutRowChange{TableName: ordersTable, PrimaryKey: orderKey(n)}
	row.AddColumn(ordersText, orderText(n))
	row.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	_, err := once(c, testKeys[1]).PutRow(&sdk.PutRowRequest{PutRowChange: row})
	return err
}

// code is what the service says of an error.
func code(err error) string {
	var e *sdk.OtsError
	if errors.As(err, &e) {
		return e.Code + " " + e.Message
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func tablesOf(t *testing.T, c *Cluster) []string {
	t.Helper()
	l, err := once(c, testKeys[0]).ListTable()
	if err != nil {
		t.Fatal(err)
	}
	return l.TableNames
}

func TestATablestoreHasItsTablesFromTheStart(t *testing.T) {
	c := startTableCluster(t, t.TempDir())
	if got := tablesOf(t, c); !slices.Equal(got, []string{"orders", "pointsman_canary", "pointsman_is_a"}) {
		t.Errorf("%v", got)
	}
}

func TestEveryKnobOfATablestoreDoesWhatItSays(t *testing.T) {
	c := startTableCluster(t, t.TempDir())
	for _, try := range []struct {
		knobs Knobs
		says  string
	}{
		{Knobs{ErrorRate: 1}, "OTSServerUnavailable"},
		{Knobs{Refuse: RefuseNotRunning}, "OTSAuthFailed The instance is not running."},
		{Knobs{Refuse: RefuseKey}, "OTSAuthFailed The AccessKeyID is disabled."},
		{Knobs{PartitionMS: 60_000}, "OTSPartitionUnavailable"},
	} {
		set(t, c, try.knobs)
		if got := code(put(c, ordersSpread)); !strings.HasPrefix(got, try.says) {
			t.Errorf("%s: %q", try.knobs.Words(), got)
		}
		if err := put(c, 1); try.knobs.PartitionMS > 0 && err != nil {
			t.Errorf("another partition: %v", err)
		}
		resp, err := http.Get("http://" + c.cfg.Listen.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if down := resp.StatusCode >= 500; down != (try.knobs.ErrorRate > 0) {
			t.Errorf("%s: a request without a key is answered %d", try.knobs.Words(), resp.StatusCode)
		}
		set(t, c, Knobs{})
		if err := put(c, ordersSpread); err != nil {
			t.Errorf("%s, healed: %v", try.knobs.Words(), err)
		}
	}
	set(t, c, Knobs{SlowMS: 150})
	if began := time.Now(); put(c, 1) != nil || time.Since(began) < 150*time.Millisecond {
		t.Errorf("150 ms slower, but answered in %s", time.Since(began))
	}
	set(t, c, Knobs{PartitionMS: 50})
	eventually(t, "the partition is back by itself", func() bool { return put(c, ordersSpread) == nil })
	set(t, c, Knobs{Closed: true})
	eventually(t, "a closed port refuses", func() bool { return strings.Contains(code(put(c, 1)), "connection refused") })
	set(t, c, Knobs{FlapMS: 40})
	for range 2 {
		eventually(t, "flapping closes the port", func() bool { return put(c, 1) != nil })
		eventually(t, "flapping opens the port", func() bool { return put(c, 1) == nil })
	}
	set(t, c, Knobs{})
	eventually(t, "it is whole again", func() bool { return put(c, 1) == nil })
	i := slices.IndexFunc(c.Requests(), func(s Seen) bool { return s.Code == "OTSPartitionUnavailable" })
	if i < 0 || !slices.Contains(c.Requests()[i].Tables, ordersTable) || c.Requests()[i].Status != 503 {
		t.Errorf("the history does not have what was refused: %d", i)
	}
}

func TestHalfOfTheErrorsOfATablestoreAreErrors(t *testing.T) {
	c := startTableCluster(t, t.TempDir())
	set(t, c, Knobs{ErrorRate: 0.5})
	bad := 0
	for range 200 {
		if _, err := once(c, testKeys[0]).ListTable(); err != nil {
			bad++
		}
	}
	if bad < 60 || bad > 140 { // about six standard deviations
		t.Errorf("%d of 200 were errors at a rate of one half", bad)
	}
}

func TestATablestoreTakesTheIdentityOfTheOtherOneAndItsOwnAgain(t *testing.T) {
	data := t.TempDir()
	c := startTableCluster(t, data)
	set(t, c, Knobs{Identity: "b", ErrorRate: 0})
	if got := tablesOf(t, c); !slices.Contains(got, "pointsman_is_b") || slices.Contains(got, "pointsman_is_a") {
		t.Errorf("as b: %v", got)
	}
	if err := put(c, 1); err != nil {
		t.Errorf("as b it takes no writes: %v", err)
	}
	set(t, c, Knobs{})
	if got := tablesOf(t, c); !slices.Contains(got, "pointsman_is_a") || slices.Contains(got, "pointsman_is_b") {
		t.Errorf("healed: %v", got)
	}
}

func TestAWebServerHasNoKnobsOfATablestore(t *testing.T) {
	c := startCluster(t)
	for _, k := range []Knobs{{Refuse: RefuseKey}, {PartitionMS: 10}} {
		if err := c.Set(k); err == nil || !strings.Contains(err.Error(), "knobs of Tablestore") {
			t.Errorf("%+v: %v", k, err)
		}
	}
	for _, k := range []Knobs{{Refuse: "mood"}, {PartitionMS: -1}} {
		if err := k.Validate(); err == nil {
			t.Errorf("%+v was taken", k)
		}
	}
}
