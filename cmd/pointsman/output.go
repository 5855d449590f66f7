package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"pointsman/internal/failover"
)

// outputFormat is the value of -o.
type outputFormat string

const (
	outputTable outputFormat = "table"
	outputJSON  outputFormat = "json"
	outputYAML  outputFormat = "yaml"
)

func isOutput(s string) bool {
	return s == string(outputTable) || s == string(outputJSON) || s == string(outputYAML)
}

// String, Set and Type make it a flag (pflag.Value).
func (o *outputFormat) String() string {
	if *o == "" {
		return string(outputTable)
	}
	return string(*o)
}

func (o *outputFormat) Set(s string) error {
	if !isOutput(s) {
		return fmt.Errorf("%q is none of table, json, yaml", s)
	}
	*o = outputFormat(s)
	return nil
}

func (o *outputFormat) Type() string { return "table|json|yaml" }

func (a *app) outputFlag(cmd *cobra.Command) {
	cmd.Flags().VarP(&a.output, "output", "o", "form of the output")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// print writes v as JSON or YAML, or calls asTable for people.
func (a *app) print(v any, asTable func(w io.Writer)) error {
	if a.output.String() == string(outputTable) {
		var b strings.Builder
		asTable(&b)
		_, err := io.WriteString(a.stdout, b.String())
		return err
	}
	data, err := json.MarshalIndent(utc(v), "", "  ")
	if err != nil {
		return fmt.Errorf("marshal output: %w", err)
	}
	if a.output == outputYAML {
		// From the JSON, so that both have the same keys in the same order.
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("turn output into YAML: %w", err)
		}
		_, err = a.stdout.Write(data)
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", data)
	return err
}

// utc returns a copy of v in which every time is in UTC.
func utc(v any) any {
	if v == nil {
		return nil
	}
	return utcValue(reflect.ValueOf(v)).Interface()
}

func utcValue(v reflect.Value) reflect.Value {
	if t, ok := v.Interface().(time.Time); ok {
		return reflect.ValueOf(t.UTC())
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(utcValue(v.Elem()))
		return p
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			s.Index(i).Set(utcValue(v.Index(i)))
		}
		return s
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		m := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			m.SetMapIndex(it.Key(), utcValue(it.Value()))
		}
		return m
	case reflect.Struct:
		s := reflect.New(v.Type()).Elem()
		s.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				s.Field(i).Set(utcValue(v.Field(i)))
			}
		}
		return s
	default:
		return v
	}
}

// colored says whether stdout takes colours.
func (a *app) colored() bool {
	return a.stdoutTTY && !a.noColor && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"
}

func (a *app) paint(c text.Color, s string) string {
	if !a.colored() {
		return s
	}
	return c.EscapeSeq() + s + text.Reset.EscapeSeq()
}

func (a *app) vote(v failover.Vote) string {
	switch v {
	case failover.Up:
		return a.paint(text.FgGreen, "up")
	case failover.Down:
		return a.paint(text.FgRed, "down")
	default:
		return a.paint(text.FgYellow, "unknown")
	}
}

// writeTable prints rows under a head, columns parted by two blanks, no lines:
// easy on eyes and on awk.
func writeTable(w io.Writer, head []string, rows [][]string) { drawTable(w, head, rows, clean) }

// table is writeTable for cells in which words may be painted.
func (a *app) table(w io.Writer, head []string, rows [][]string) {
	if a.colored() {
		drawTable(w, head, rows, cleanPainted)
	} else {
		drawTable(w, head, rows, clean)
	}
}

// painted is a word that [app.paint] painted. Whoever else writes such a thing
// gets a colour and no more: it ends where it says.
var painted = regexp.MustCompile(`\x1b\[3[1-3]m([^\x1b]*)\x1b\[0m`)

func cleanPainted(s string) string {
	var b strings.Builder
	last := 0
	for _, m := range painted.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(clean(s[last:m[0]]) + s[m[0]:m[2]] + clean(s[m[2]:m[3]]) + s[m[3]:m[1]])
		last = m[1]
	}
	return b.String() + clean(s[last:])
}

func drawTable(w io.Writer, head []string, rows [][]string, clean func(string) string) {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(tableRow(head, clean))
	for _, r := range rows {
		t.AppendRow(tableRow(r, clean))
	}
	fmt.Fprintln(w, t.Render())
}

func tableRow(cells []string, clean func(string) string) table.Row {
	row := make(table.Row, len(cells))
	for i, c := range cells {
		row[i] = clean(strings.ReplaceAll(c, "\n", " "))
	}
	return row
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.RFC3339)
}

// age rounds a span for people: 3m20s, 1.4s, 120ms.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
}
