package doctor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryCheckStandsInTheDocument: ids are what people search for.
func TestEveryCheckStandsInTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, known []string
	checks, _, _ := strings.Cut(string(text), "## A bundle of an incident")
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z.]+)` \\|").FindAllStringSubmatch(checks, -1) {
		documented = append(documented, m[1])
	}
	for _, e := range slices.Concat(Catalogue, ClientCatalogue) {
		known = append(known, e.ID)
	}
	if !slices.Equal(documented, known) {
		t.Errorf("docs/doctor.md has\n%q\nthe catalogues have\n%q", documented, known)
	}
}
