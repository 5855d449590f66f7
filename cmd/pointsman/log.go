package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
)

// logFlags choose how a process that serves writes its log to stderr.
type logFlags struct{ format, level string }

func (l *logFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.format, "log-format", "auto", "auto, color, text or json; auto is color on a terminal and else text")
	cmd.Flags().StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
}

// logger makes the log. Words from outside (reasons of probes, answers of
// servers, names of people) may hold anything, and no handler escapes all of
// it: tint lets escape sequences through on purpose, and JSON takes marks that
// turn the direction of text as they are. So they are escaped before.
func (a *app) logger(l logFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, failed("give debug, info, warn or error", "--log-level: there is no level %q", l.level)
	}
	format := l.format
	if format == "auto" {
		format = "text"
		if a.stderrTTY && !a.noColor && a.env("NO_COLOR") == "" {
			format = "color"
		}
	}
	h, ok := logHandler(format, a.stderr, level)
	if !ok {
		return nil, failed("give auto, color, text or json", "--log-format: there is no format %q", l.format)
	}
	return slog.New(h), nil
}

func logHandler(format string, w io.Writer, level slog.Level) (slog.Handler, bool) {
	switch format {
	case "color":
		return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.StampMilli, ReplaceAttr: cleanAttr}), true
	case "text":
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: cleanAttr}), true
	case "json":
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: cleanAttr}), true
	default:
		return nil, false
	}
}

// cleanAttr escapes line feeds and control characters in everything that
// prints as text.
func cleanAttr(_ []string, at slog.Attr) slog.Attr {
	at.Key = oneLine(at.Key)
	switch at.Value.Kind() {
	case slog.KindString:
		if s := at.Value.String(); s != oneLine(s) {
			at.Value = slog.StringValue(oneLine(s))
		}
	case slog.KindAny:
		switch v := at.Value.Any().(type) {
		case error:
			at.Value = slog.StringValue(oneLine(v.Error()))
		case fmt.Stringer:
			at.Value = slog.StringValue(oneLine(v.String()))
		}
	}
	return at
}

func oneLine(s string) string { return strings.ReplaceAll(clean(s), "\n", " | ") }
