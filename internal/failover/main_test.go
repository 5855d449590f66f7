package failover

import (
	"flag"
	"os"
	"testing"
)

// seed of the random lives unless -rapid.seed says another one (0: drawn
// anew). A test run that differs from machine to machine cannot say whether a
// change broke something; the soak draws others.
const seed = "20261123"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.seed" })
	if !given {
		if err := flag.Set("rapid.seed", seed); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
