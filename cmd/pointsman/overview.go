package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// overview is status without an instance: a line for each, or, where there are
// many, what they do together and those that need a look.
func (a *app) overview(ctx context.Context) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	s, err := c.Summary(ctx)
	if p, ok := errors.AsType[*api.Problem](err); ok && p.Status == http.StatusNotFound || err == nil && s.Instances <= statusMost {
		return a.status(ctx, "") // few of them, or an older controller
	}
	if err != nil {
		return err
	}
	vs, err := c.List(ctx, api.ListQuery{NeedLook: "yes", Limit: statusMost})
	if err != nil {
		return err
	}
	secondaries, err := c.Secondaries(ctx)
	if err != nil {
		return err
	}
	return a.print(vs, func(w io.Writer) {
		if line := configBanner(configOf(ctx, c)); line != "" {
			fmt.Fprintln(w, clean(line))
		}
		writeSummary(w, &s)
		if len(vs) > 0 {
			fmt.Fprintln(w)
			a.statusRows(w, vs)
		}
		fmt.Fprintf(w, "\nshown: %d of %d that need a look; --all lists every instance, status INSTANCE one in detail\n", len(vs), s.NeedLook)
		a.writeSecondaries(w, secondaries)
	})
}

// summary is status --summary.
func (a *app) summary(ctx context.Context) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	s, err := c.Summary(ctx)
	if err != nil {
		return err
	}
	secondaries, err := c.Secondaries(ctx)
	if err != nil {
		return err
	}
	sv := summaryView{Summary: s}
	for _, x := range secondaries {
		if x.OK {
			sv.Secondaries.Well++
		} else {
			sv.Secondaries.Look++
		}
	}
	st := configOf(ctx, c)
	sv.Vantages = st.Vantages
	return a.print(sv, func(w io.Writer) {
		if line := configBanner(st); line != "" {
			fmt.Fprintln(w, clean(line))
		}
		writeSummary(w, &s)
		if len(secondaries) > 0 {
			fmt.Fprintf(w, "%d secondaries: %d well, %d need a look\n", len(secondaries), sv.Secondaries.Well, sv.Secondaries.Look)
		}
	})
}

// summaryView is what status --summary prints.
type summaryView struct {
	api.Summary
	Secondaries struct {
		Well int `json:"well"`
		Look int `json:"look"`
	} `json:"secondaries"`

	Vantages []api.VantageRefusal `json:"vantages,omitempty"` // whose newest file is refused
}

func writeSummary(w io.Writer, s *api.Summary) {
	words := []string{fmt.Sprintf("%d well", s.Instances-s.NeedLook)}
	for _, k := range byCount(s.Looks) {
		words = append(words, fmt.Sprintf("%d %s", s.Looks[k], k))
	}
	fmt.Fprintf(w, "%d instances: %s\n", s.Instances, strings.Join(words, ", "))
	modes := make([]string, 0, len(s.Modes))
	for _, k := range byCount(s.Modes) {
		modes = append(modes, fmt.Sprintf("%d %s", s.Modes[k], k))
	}
	fmt.Fprintf(w, "modes: %s\n", orElse(strings.Join(modes, ", "), "-"))
	if n := s.Modes[failover.ModeShadow.String()]; n > 0 {
		fmt.Fprintf(w, "SHADOW  %d instances: everything is decided, nothing is done\n", n)
	}
	if n := s.Stops[failover.StopPause]; n > 0 {
		fmt.Fprintf(w, "PAUSED  %d instances\n", n)
	}
	if n := s.Instances - s.Leading; n > 0 {
		fmt.Fprintf(w, "NOT LEADING  %d instances: %s\n", n, clean(orElse(strings.Join(s.LeadWhy, "; "), "no reason is known")))
	}
}

// byCount sorts the keys by their numbers, the greatest first.
func byCount(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	return keys
}
