package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// alerts posts to Alertmanager's API v2 (its openapi.yaml, POST /alerts). An
// incident is one alert: the labels say whose, what is told of it changes.
type alerts struct {
	url     string
	token   []byte
	labels  map[string]string
	runbook string
	g       *guarded
	w       writer
	now     func() time.Time
}

const (
	// alertLasts is the end of an alert that nobody resolves. Alertmanager ends
	// one without an end of its own after resolve_timeout, 5 min by default,
	// unless it is told again, which an outbox does not.
	alertLasts = 7 * 24 * time.Hour
	// noteLasts is that of news that wants nobody.
	noteLasts = 5 * time.Minute
)

func newAlertmanager(c Channel, s *Setup, o outer) (sender, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	base := strings.TrimRight(strings.TrimSpace(c.URL), "/")
	if strings.Contains(base, "?") {
		return nil, errors.New("the URL of Alertmanager ends before /api/v2")
	}
	return &alerts{
		url: strings.TrimSuffix(base, "/api/v2") + "/api/v2/alerts", token: c.Secret, labels: c.Labels,
		runbook: s.Runbook, g: c.guarded(o), w: c.writer(s, o), now: o.now,
	}, nil
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

func (a *alerts) send(ctx context.Context, p *parcel) error {
	body, err := json.Marshal([]alert{a.alert(p)})
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	h := http.Header{}
	if len(a.token) > 0 {
		h.Set("Authorization", "Bearer "+string(a.token))
	}
	secrets := append(secretsOf(a.url), string(a.token))
	resp, said, err := post(ctx, a.g, a.url, body, h)
	if err != nil {
		return hide(err, secrets)
	}
	return hide(judge(resp, said, a.now()), secrets)
}

func (a *alerts) alert(p *parcel) alert {
	m, t := p.newest(), a.w.write(p)
	x := alert{
		Labels:      map[string]string{"alertname": "PointsmanIncident", "severity": "critical", "instance": string(m.Instance)},
		Annotations: map[string]string{"summary": t.Subject, "description": t.Plain(), "kind": m.Kind, "id": p.id},
		StartsAt:    m.At,
	}
	first := p.msgs[0]
	if !first.Since.IsZero() {
		x.StartsAt = first.Since
	} else {
		x.StartsAt = first.At
	}
	switch m.State {
	case Fire:
		x.EndsAt = m.At.Add(alertLasts)
	case Resolve:
		x.EndsAt = m.At
	default:
		x.Labels["alertname"], x.Labels["severity"], x.Labels["kind"] = "PointsmanNews", "info", m.Kind
		x.EndsAt = m.At.Add(noteLasts)
	}
	// It refuses an alert that ends before it starts.
	if x.EndsAt.Before(x.StartsAt) {
		x.EndsAt = x.StartsAt
	}
	if m.Shadow {
		x.Labels["mode"] = "shadow"
	}
	if a.runbook != "" {
		x.Annotations["runbook_url"] = strings.ReplaceAll(a.runbook, "KIND", m.Kind)
	}
	maps.Copy(x.Labels, a.labels)
	for k, v := range x.Labels {
		if v == "" {
			delete(x.Labels, k) // an empty label is none
		}
	}
	return x
}
