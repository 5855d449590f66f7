package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Metrics reads at most limit bytes of what Prometheus would scrape; cut says
// that there were more.
func (c *Client) Metrics(ctx context.Context, limit int) (text []byte, cut bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, false, fmt.Errorf("%s answered %s: %w", c.where, resp.Status, ErrNotOurs)
	}
	text, err = io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return nil, false, fmt.Errorf("read metrics of %s: %w", c.where, err)
	}
	if len(text) > limit {
		return text[:limit], true, nil
	}
	return text, false, nil
}

// Ready lists the conditions of readiness, met or not.
func (c *Client) Ready(ctx context.Context) ([]Condition, error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable {
		resp.StatusCode = http.StatusOK // the body is the same list
	}
	var cs []Condition
	return cs, c.decode(resp, &cs)
}
