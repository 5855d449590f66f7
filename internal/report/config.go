package report

import (
	"fmt"
	"path"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// Format is a form in which a report is kept.
type Format string

const (
	HTML     Format = "html"
	Markdown Format = "markdown"
	JSON     Format = "json"
	Text     Format = "text" // a few lines; shown, never kept
)

// Formats are those that may be kept.
var Formats = []Format{HTML, Markdown, JSON}

// suffixes are the ends of the names of kept files.
var suffixes = map[Format]string{HTML: ".html", Markdown: ".md", JSON: ".json"}

// ByHand is the name of reports that were asked for and have none of their own.
const ByHand = "by-hand"

const (
	DefaultKeep = 30
	MostKeep    = 1000
)

// Config is one report of the configuration.
type Config struct {
	Name      string
	Schedule  Schedule
	Instances []string // globs over their names; empty is all
	Window    Window
	Formats   []Format // JSON is always kept: it is what the next one is compared with
	Channels  []string // where it is delivered to
	Keep      int      // the newest so many
}

// Wants says whether an instance is in the report.
func (c *Config) Wants(i failover.InstanceName) bool {
	return len(c.Instances) == 0 || slices.ContainsFunc(c.Instances, func(glob string) bool {
		ok, err := path.Match(glob, string(i))
		return ok && err == nil
	})
}

// CheckGlob says what is wrong with a glob over names of instances.
func CheckGlob(glob string) error {
	if _, err := path.Match(glob, ""); err != nil {
		return fmt.Errorf("%q is no pattern", glob)
	}
	return nil
}

// print tells two calendars apart: a report whose calendar changed has missed
// nothing.
func (c *Config) print() string {
	return fmt.Sprintf("%s|%s|%s|%s", c.Schedule.Text, c.Schedule.Zone, c.Schedule.Jitter, c.Window)
}

// asked is the report that is made where no name was given.
func asked(loc *time.Location) Config {
	return Config{Name: ByHand, Window: Window{Length: 24 * time.Hour}, Formats: Formats, Keep: DefaultKeep, Schedule: Schedule{Zone: loc.String(), Location: loc}}
}
