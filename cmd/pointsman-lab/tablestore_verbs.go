package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/lab/tablestore"
)

// tablestoreVerbs are the orders for a server that runs in another terminal.
func (a *app) tablestoreVerbs(c *tableLab) []*cobra.Command {
	plain := func(verb, short string) *cobra.Command {
		return &cobra.Command{
			Use: verb, Short: short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.tableOrder(cmd.Context(), c, http.MethodPost, "/"+verb, nil, nil)
			},
		}
	}
	instance := func(verb, short string, stopped bool) *cobra.Command {
		return &cobra.Command{
			Use: verb + " INSTANCE", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.tableOrder(cmd.Context(), c, http.MethodPut, "/instances/"+url.PathEscape(args[0]), map[string]bool{"stopped": stopped}, nil)
			},
		}
	}
	return []*cobra.Command{
		a.tableFaultCommand(c),
		a.tableFaultsCommand(c),
		a.tableHealCommand(c),
		a.tableRequestsCommand(c),
		a.tableTablesCommand(c),
		a.tablePartsCommand(c),
		a.tableSplitCommand(c),
		a.tableMergeCommand(c),
		a.tableTrimCommand(c),
		a.tableEpochCommand(c),
		a.tablePolicyCommand(c),
		a.tableStatusCommand(c),
		a.tableSetCommand(c),
		plain("stall", "Stop answering, as on SIGSTOP: connections are accepted, nothing is read or written"),
		plain("resume", "Let a stalled server go on; what came in meanwhile is done"),
		plain("kill", "Refuse connections and cut those that are open; what it holds stays"),
		plain("revive", "Listen again after kill, at the same addresses"),
		instance("stop", "Stop an instance: its calls are refused, the instance is not running", true),
		instance("start", "Let a stopped instance run again", false),
	}
}

func (a *app) tableFaultCommand(c *tableLab) *cobra.Command {
	var f tablestore.Fault
	var times int
	var of, from, to string
	kinds := make([]string, len(tablestore.Kinds))
	for i, k := range tablestore.Kinds {
		kinds[i] = string(k)
	}
	cmd := &cobra.Command{
		Use:   "fault KIND",
		Short: "Let the next calls go wrong",
		Long: `Let the next --times calls that match go wrong. What is not said matches all.

  error       refused with --code (--status and --message for one that is not the service's)
  throttled   OTSFlowControl, or --code, beyond --rate calls a second
  partition   one partition is unavailable: the one that --of belongs to, or --from up to --to;
              its rows alone are refused, in batches one by one
  late        done --delay later; with --after done at once and answered --delay later
  stall       no answer, the connection stays open
  drop        the connection ends without an answer
  reset       the connection is reset
  truncated   half of the answer, then the connection ends
  corrupted   the answer is changed on its way; its digest is not
  malformed   half of the message, with a digest to match
  empty       200 and nothing
  unsigned    the answer without the headers that clients check
  slow-body   the head at once, then a byte each --delay
  html        502 and a page, as from a proxy in between

With --after the call is done first: its change is durable, and only the answer is
lost or wrong. The operation GET is a request for the endpoint itself, as of a
probe; without --operation those are left alone.`,
		Example: `  pointsman-lab tablestore fault error --code OTSServerBusy --operation PutRow --times 3
  pointsman-lab tablestore fault drop --after --operation BatchWriteRow
  pointsman-lab tablestore fault partition --table orders --of k42 --for 100ms
  pointsman-lab tablestore fault error --code OTSAuthFailed --message 'Request denied by instance ACL policies.' --times -1
  pointsman-lab tablestore fault throttled --rate 50 --for 10s
  pointsman-lab tablestore fault late --delay 2s --key LTAI-client`,
		ValidArgs: kinds, Args: cobra.ExactArgs(1),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Operation, "operation", "", "only calls of an `OPERATION`, as PutRow")
	fl.StringVar(&f.Instance, "instance", "", "only calls of an `INSTANCE`")
	fl.StringVar(&f.Table, "table", "", "only calls about a `TABLE`")
	fl.StringVar(&f.Key, "key", "", "only calls by the access key of an `ID`")
	fl.IntVar(&times, "times", 0, "how `MANY` calls; below 0 without end (1; without end with --for)")
	fl.IntVar(&f.Skip, "skip", 0, "so `MANY` matching calls go well first")
	fl.Float64Var(&f.Share, "share", 0, "a `SHARE` of the calls, drawn by lot, as 0.5; all if 0")
	fl.DurationVar(&f.For, "for", 0, "the fault ends after so `LONG`")
	fl.BoolVar(&f.After, "after", false, "do it first; only the answer is lost or wrong")
	fl.StringVar(&f.Code, "code", "", "`CODE` of the error")
	fl.StringVar(&f.Message, "message", "", "`TEXT` of the error; the usual one of the code if empty")
	fl.IntVar(&f.Status, "status", 0, "HTTP `STATUS` of the error; that of the code if 0")
	fl.DurationVar(&f.Delay, "delay", 0, "how `LONG` late is late")
	fl.Float64Var(&f.Rate, "rate", 0, "so many `CALLS` a second go well when throttled")
	fl.StringVar(&of, "of", "", "the partition that this partition `KEY` belongs to")
	fl.StringVar(&from, "from", "", "least partition `KEY` of the partition; open if not given")
	fl.StringVar(&to, "to", "", "partition `KEY` that the partition ends before; open if not given")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.Kind = tablestore.Kind(args[0])
		for name, p := range map[string]struct {
			text *string
			at   **string
		}{"of": {&of, &f.Of}, "from": {&from, &f.From}, "to": {&to, &f.To}} {
			if cmd.Flags().Changed(name) {
				*p.at = p.text
			}
		}
		switch {
		case cmd.Flags().Changed("times"):
		case f.For > 0:
			times = -1
		default:
			times = 1
		}
		return a.tableOrder(cmd.Context(), c, http.MethodPost, "/faults", map[string]any{"times": times, "fault": f}, func(w io.Writer, b []byte) error {
			var said struct {
				ID int `json:"id"`
			}
			err := json.Unmarshal(b, &said)
			fmt.Fprintf(w, "fault %d\n", said.ID)
			return err
		})
	}
	return cmd
}

func (a *app) tableFaultsCommand(c *tableLab) *cobra.Command {
	return &cobra.Command{
		Use: "faults", Short: "Show the faults that still wait for calls", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.tableOrder(cmd.Context(), c, http.MethodGet, "/faults", nil, func(w io.Writer, b []byte) error {
				return rows(w, b, "fault\tkind\toperation\ttable\tkey\tleft\tuntil", func(p tablestore.Pending) []any {
					until := "–"
					if !p.Until.IsZero() {
						until = p.Until.Format("15:04:05.000")
					}
					left := strconv.Itoa(p.Left)
					if p.Left < 0 {
						left = "all"
					}
					return []any{p.ID, p.Fault.Kind, cmp.Or(p.Fault.Operation, "any"), cmp.Or(p.Fault.Table, "any"), cmp.Or(p.Fault.Key, "any"), left, until}
				})
			})
		},
	}
}

func (a *app) tableHealCommand(c *tableLab) *cobra.Command {
	return &cobra.Command{
		Use: "heal [FAULT]", Short: "Take a fault away, or all; stalled or killed it stays", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/faults"
			if len(args) > 0 {
				path += "/" + url.PathEscape(args[0])
			}
			return a.tableOrder(cmd.Context(), c, http.MethodDelete, path, nil, nil)
		},
	}
}

func (a *app) tableRequestsCommand(c *tableLab) *cobra.Command {
	q := map[string]*string{}
	var last int
	var forget bool
	cmd := &cobra.Command{
		Use: "requests", Short: "Show what was asked, oldest first", Args: cobra.NoArgs,
		Example: "  pointsman-lab tablestore requests --operation PutRow --last 20\n  pointsman-lab tablestore requests --code OTSServerBusy -o json\n  pointsman-lab tablestore requests --forget",
	}
	for name, usage := range map[string]string{
		"operation": "only those of an `OPERATION`", "instance": "only those of an `INSTANCE`", "table": "only those about a `TABLE`",
		"key": "only those by the access key of an `ID`", "code": "only those that were refused with a `CODE`",
	} {
		q[name] = cmd.Flags().String(name, "", usage)
	}
	cmd.Flags().IntVar(&last, "last", 0, "the newest so `MANY`; all if 0")
	cmd.Flags().BoolVar(&forget, "forget", false, "forget them")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if forget {
			return a.tableOrder(cmd.Context(), c, http.MethodDelete, "/requests", nil, nil)
		}
		v := url.Values{}
		for name, text := range q {
			if *text != "" {
				v.Set(name, *text)
			}
		}
		if last != 0 {
			v.Set("last", strconv.Itoa(last))
		}
		return a.tableOrder(cmd.Context(), c, http.MethodGet, "/requests?"+v.Encode(), nil, func(w io.Writer, b []byte) error {
			return rows(w, b, "at\toperation\tinstance\ttables\tkey\tstatus\tcode\tms\tfault\trequest", func(r tablestore.Request) []any {
				return []any{
					r.At.Format("15:04:05.000"), r.Operation, cmp.Or(r.Instance, "–"), cmp.Or(strings.Join(r.Tables, ","), "–"), cmp.Or(r.KeyID, "–"), r.Status,
					cmp.Or(r.Code, "–"), strconv.FormatFloat(float64(r.Duration)/float64(time.Millisecond), 'f', 1, 64), cmp.Or(string(r.Fault), "–"), r.RequestID,
				}
			})
		})
	}
	return cmd
}

func (a *app) tableTablesCommand(c *tableLab) *cobra.Command {
	var instance string
	cmd := &cobra.Command{Use: "tables", Short: "Show the tables", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&instance, "instance", "", "only those of an `INSTANCE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.tableOrder(cmd.Context(), c, http.MethodGet, "/tables?"+url.Values{"instance": {instance}}.Encode(), nil, func(w io.Writer, b []byte) error {
			return rows(w, b, "instance\ttable\tprimary key\tttl\tversions\tpartitions\tstream", func(t tablestore.Table) []any {
				return []any{t.Instance, t.Name, strings.Join(t.Keys, ", "), t.TTL, t.Versions, t.Partitions, cmp.Or(t.Stream, "–")}
			})
		})
	}
	return cmd
}

func (a *app) tableStatusCommand(c *tableLab) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the server is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.tableOrder(cmd.Context(), c, http.MethodGet, "/status", nil, printTableStatus)
		},
	}
}

func printTableStatus(w io.Writer, b []byte) error {
	var s tablestore.Status
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	state := "answers"
	switch {
	case s.Killed:
		state = "killed"
	case s.Stalled:
		state = "stalled"
	}
	fmt.Fprintf(w, "%s at %s %s\n", state, s.Endpoint, s.TLSEndpoint)
	for _, in := range s.Instances {
		state := "running"
		if in.Stopped {
			state = "stopped"
		}
		fmt.Fprintf(w, "instance %s: %s\n", in.Name, state)
	}
	fmt.Fprintf(w, "faults: %d\nclock: %+d ms\nnew tables: ready after %d ms\n", s.Faults, s.ClockOffset, s.Ready)
	fmt.Fprintf(w, "streams: seen after %d ms, %d tokens, at most %d records and %d bytes at once\n", s.StreamDelay, s.StreamTokens, s.StreamRecords, s.StreamBytes)
	fmt.Fprintf(w, "policies: in force after %d ms, by the control API at %s\n", s.PolicyDelay, s.Control)
	return nil
}

// tableKnobs are what set can turn: flag, what it is for, name in the API.
var tableKnobs = []struct {
	flag, usage, name string
	count             bool // a number, no duration
}{
	{"clock", "how `FAR` its clock is fast; slow below 0", "clock_offset_ms", false},
	{"ready", "how `LONG` a new table is not ready", "ready_ms", false},
	{"stream-delay", "how `LONG` a record of a stream is not seen", "stream_delay_ms", false},
	{"stream-tokens", "so `MANY` answers of GetShardIterator are a token before the iterator", "stream_tokens", true},
	{"stream-records", "so `MANY` records at most in one answer", "stream_page_records", true},
	{"stream-bytes", "so `MANY` bytes of records, about, at most in one answer", "stream_page_bytes", true},
	{"policy-delay", "how `LONG` a policy takes to be in force", "policy_delay_ms", false},
}

func (a *app) tableSetCommand(c *tableLab) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set", Short: "Turn the knobs of the server; what is not given stays", Args: cobra.NoArgs,
		Example: "  pointsman-lab tablestore set --clock 20m\n  pointsman-lab tablestore set --clock -2s --stream-delay 500ms",
	}
	for _, k := range tableKnobs {
		if k.count {
			cmd.Flags().Int64(k.flag, 0, k.usage)
		} else {
			cmd.Flags().Duration(k.flag, 0, k.usage)
		}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		body := map[string]int64{}
		for _, k := range tableKnobs {
			if !cmd.Flags().Changed(k.flag) {
				continue
			}
			if k.count {
				body[k.name], _ = cmd.Flags().GetInt64(k.flag) // it is there
			} else {
				d, _ := cmd.Flags().GetDuration(k.flag)
				body[k.name] = d.Milliseconds()
			}
		}
		if len(body) == 0 {
			return errors.New("nothing to set\nhint: see 'pointsman-lab tablestore set --help'")
		}
		return a.tableOrder(cmd.Context(), c, http.MethodPut, "/settings", body, printTableStatus)
	}
	return cmd
}

// printParts prints the partitions of a table.
func printParts(w io.Writer, b []byte) error {
	i := -1
	return rows(w, b, "partition\tfrom\tshard", func(p tablestore.Part) []any {
		i++
		from := "–"
		switch v := p.From.(type) {
		case string:
			from = strconv.Quote(v)
		case json.Number:
			from = v.String()
		}
		return []any{i, from, cmp.Or(p.Shard, "–")}
	})
}

// aboutTable adds --instance to an order about one table.
func aboutTable(cmd *cobra.Command, do func(cmd *cobra.Command, instance string, args []string) error) *cobra.Command {
	instance := cmd.Flags().String("instance", "", "the `INSTANCE` of the table; needed if there are several")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return do(cmd, *instance, args) }
	return cmd
}

func (a *app) tablePartsCommand(c *tableLab) *cobra.Command {
	cmd := &cobra.Command{Use: "partitions TABLE", Short: "Show the partitions of a table", Args: cobra.ExactArgs(1)}
	return aboutTable(cmd, func(cmd *cobra.Command, instance string, args []string) error {
		return a.tableOrder(cmd.Context(), c, http.MethodGet, "/parts?"+url.Values{"instance": {instance}, "table": args}.Encode(), nil, printParts)
	})
}

func (a *app) tableSplitCommand(c *tableLab) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "split TABLE", Short: "Cut a partition of a table in two, and with it the shard of its stream", Args: cobra.ExactArgs(1),
		Example: "  pointsman-lab tablestore split orders\n  pointsman-lab tablestore split orders --at k5000",
	}
	cmd.Flags().StringVar(&at, "at", "", "partition `KEY` that the second half begins with; about the middle of the largest if empty")
	return aboutTable(cmd, func(cmd *cobra.Command, instance string, args []string) error {
		return a.tableOrder(cmd.Context(), c, http.MethodPost, "/split", map[string]any{"instance": instance, "table": args[0], "key": at}, printParts)
	})
}

func (a *app) tableMergeCommand(c *tableLab) *cobra.Command {
	cmd := &cobra.Command{
		Use: "merge TABLE PARTITION", Short: "Make a partition and its right neighbour one, counted from 0, and so the shards of its stream", Args: cobra.ExactArgs(2),
		Example: "  pointsman-lab tablestore merge orders 0",
	}
	return aboutTable(cmd, func(cmd *cobra.Command, instance string, args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return fmt.Errorf("partition %s: a number from 0\nhint: see 'pointsman-lab tablestore partitions %s'", args[1], args[0])
		}
		return a.tableOrder(cmd.Context(), c, http.MethodPost, "/merge", map[string]any{"instance": instance, "table": args[0], "partition": n}, printParts)
	})
}

func (a *app) tableTrimCommand(c *tableLab) *cobra.Command {
	var older time.Duration
	cmd := &cobra.Command{
		Use: "trim TABLE", Short: "Remove records of a table's stream as if they had expired", Args: cobra.ExactArgs(1),
		Example: "  pointsman-lab tablestore trim orders\n  pointsman-lab tablestore trim orders --older-than 10m",
	}
	cmd.Flags().DurationVar(&older, "older-than", 0, "only those that are so `OLD`, by the clock of this machine")
	return aboutTable(cmd, func(cmd *cobra.Command, instance string, args []string) error {
		return a.tableOrder(cmd.Context(), c, http.MethodPost, "/trim", map[string]any{"instance": instance, "table": args[0], "before": time.Now().Add(-older)},
			func(w io.Writer, b []byte) error {
				var said struct {
					Trimmed int `json:"trimmed"`
				}
				err := json.Unmarshal(b, &said)
				fmt.Fprintf(w, "%d records are gone\n", said.Trimmed)
				return err
			})
	})
}

func (a *app) tableEpochCommand(c *tableLab) *cobra.Command {
	cmd := &cobra.Command{Use: "epoch TABLE EPOCH", Short: "Set the epoch of the next records of a table's stream", Args: cobra.ExactArgs(2)}
	return aboutTable(cmd, func(cmd *cobra.Command, instance string, args []string) error {
		n, err := strconv.ParseInt(args[1], 10, 32)
		if err != nil {
			return fmt.Errorf("epoch %s: a number of 32 bits", args[1])
		}
		return a.tableOrder(cmd.Context(), c, http.MethodPost, "/epoch", map[string]any{"instance": instance, "table": args[0], "epoch": n}, printParts)
	})
}

func (a *app) tablePolicyCommand(c *tableLab) *cobra.Command {
	var file string
	var remove bool
	var version int64
	cmd := &cobra.Command{
		Use: "policy INSTANCE", Short: "Show the policy of an instance and the one in force, or replace it", Args: cobra.ExactArgs(1),
		Example: "  pointsman-lab tablestore policy lab\n  pointsman-lab tablestore policy lab --file deny.json --version 0\n  pointsman-lab tablestore policy lab --remove --version 1",
	}
	cmd.Flags().StringVar(&file, "file", "", "`FILE` of the new policy")
	cmd.Flags().BoolVar(&remove, "remove", false, "remove it")
	cmd.Flags().Int64Var(&version, "version", 0, "`VERSION` that is replaced; 0 if there never was one")
	cmd.MarkFlagsMutuallyExclusive("file", "remove")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, show := "/policies/"+url.PathEscape(args[0]), func(w io.Writer, b []byte) error {
			var p struct {
				Text    string
				Version int64
				InForce string `json:"in_force"`
			}
			err := json.Unmarshal(b, &p)
			fmt.Fprintf(w, "version  %d\nnewest   %s\nin force %s\n", p.Version, cmp.Or(p.Text, "–"), cmp.Or(p.InForce, "–"))
			return err
		}
		if file == "" && !remove {
			return a.tableOrder(cmd.Context(), c, http.MethodGet, path, nil, show)
		}
		text := []byte(nil)
		if file != "" {
			var err error
			if text, err = os.ReadFile(file); err != nil {
				return fmt.Errorf("--file: %w", err)
			}
		}
		return a.tableOrder(cmd.Context(), c, http.MethodPut, path, map[string]any{"text": string(text), "version": version}, show)
	}
	return cmd
}

// rows prints a JSON list as a table.
func rows[T any](w io.Writer, b []byte, head string, row func(T) []any) error {
	var list []T
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // integers of 64 bits
	if err := d.Decode(&list); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, head)
	for _, v := range list {
		cells := row(v)
		fmt.Fprintf(t, strings.Repeat("%v\t", len(cells)-1)+"%v\n", cells...)
	}
	return t.Flush()
}

// tableOrder asks the management API and prints what it says.
func (a *app) tableOrder(ctx context.Context, c *tableLab, method, path string, body any, print func(io.Writer, []byte) error) error {
	b, err := a.tableAsk(ctx, c, method, path, body)
	switch {
	case err != nil:
		return err
	case c.output == "json":
		_, err = a.out.Write(b)
		return err
	case print == nil:
		return nil
	}
	return print(a.out, b)
}

// tableAsk asks the management API of the server whose files are there.
func (a *app) tableAsk(ctx context.Context, c *tableLab, method, path string, body any) ([]byte, error) {
	env := a.tablePath(c.name, ".env")
	text, err := os.ReadFile(env)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, a.noTablestore(c)
	case err != nil:
		return nil, fmt.Errorf("file of the addresses: %w", err)
	}
	said := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[name] = strings.Trim(value, "'")
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, said["LAB_MANAGE"]+path, in)
	if err != nil {
		return nil, fmt.Errorf("%s: LAB_MANAGE: %w", env, err)
	}
	q.Header.Set("Authorization", "Bearer "+said["LAB_TOKEN"])
	r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}).Do(q)
	if err != nil {
		return nil, fmt.Errorf("ask the server of %s: %w\nhint: did it end? then start it again", env, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the server of %s: %w", env, err)
	}
	if r.StatusCode != http.StatusOK {
		var wrong struct{ Error string }
		if json.Unmarshal(b, &wrong) != nil || wrong.Error == "" {
			wrong.Error = r.Status
		}
		return nil, errors.New(wrong.Error)
	}
	return b, nil
}

// noTablestore says that none runs, and which ones do.
func (a *app) noTablestore(c *tableLab) error {
	var others []string
	entries, _ := os.ReadDir(a.folder())
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), "-keys.json"); ok && name != c.name {
			others = append(others, name)
		}
	}
	hint := "start one with pointsman-lab tablestore, or give its --dir"
	if len(others) > 0 {
		slices.Sort(others)
		hint = "give --name: there are " + strings.Join(others, ", ")
	}
	return fmt.Errorf("no tablestore called %s runs in %s\nhint: %s", c.name, a.folder(), hint)
}
