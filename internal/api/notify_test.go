package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// twoChannels has the channels a and b; b does not work.
type twoChannels struct{ by *string }

func (twoChannels) Channels() []ChannelLine {
	return []ChannelLine{
		{Channel: "a", Type: "folder", Sent: 3, Dropped: map[string]uint64{"age": 1}, Waiting: 2, Oldest: time.Unix(9, 0).UTC()},
		{Channel: "b", Type: "webhook", LastError: "no answer in time"},
	}
}

func (c twoChannels) TestChannels(_ context.Context, q NotifyTest) (out []ChannelTest, unknown []string) {
	*c.by = q.By
	for _, l := range c.Channels() {
		if len(q.Channels) == 0 || slices.Contains(q.Channels, l.Channel) {
			out = append(out, ChannelTest{Channel: l.Channel, Type: l.Type, OK: l.Channel == "a", Why: l.LastError, Took: time.Second})
		}
	}
	for _, n := range q.Channels {
		if n != "a" && n != "b" {
			unknown = append(unknown, n)
		}
	}
	return out, unknown
}

func TestChannelsAreListedAndTried(t *testing.T) {
	cfg := newWorld().config(t)
	var by string
	cfg.Notices = twoChannels{&by}
	serveTest(t, cfg)
	c, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Channels(t.Context()); err != nil || !reflect.DeepEqual(got, twoChannels{}.Channels()) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err := c.TestChannels(t.Context(), NotifyTest{By: "alice@desk"})
	if err != nil || len(got) != 2 || !got[0].OK || got[1].OK || got[1].Why != "no answer in time" {
		t.Errorf("%+v, %v", got, err)
	}
	if want := fmt.Sprintf("alice@desk (uid %d)", os.Geteuid()); by != want {
		t.Errorf("asked by %q, want %q", by, want)
	}
	if got, err = c.TestChannels(t.Context(), NotifyTest{Channels: []string{"b"}}); err != nil || len(got) != 1 || got[0].Channel != "b" {
		t.Errorf("%+v, %v", got, err)
	}
	p := (*Problem)(nil)
	if _, err := c.TestChannels(t.Context(), NotifyTest{Channels: []string{"b", "c"}}); !errors.As(err, &p) || p.Status != 404 || p.Message != `there is no channel "c"` || !slices.Equal(p.Known, []string{"a", "b"}) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := c.TestChannels(t.Context(), NotifyTest{Channels: strings.Split(strings.Repeat("a,", maxTested), ",")}); !errors.As(err, &p) || p.Status != 400 {
		t.Errorf("%+v, %v", p, err)
	}
}
