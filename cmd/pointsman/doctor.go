package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"pointsman/internal/doctor"
)

// doctorFlags narrow the checks.
type doctorFlags struct {
	readOnly  bool
	only      []string
	resolvers []string
	within    time.Duration
}

// doctorReport is what doctor prints.
type doctorReport struct {
	At       time.Time        `json:"at"`
	File     string           `json:"file"`
	Verdict  doctor.Verdict   `json:"verdict"` // the worst of the findings
	OK       int              `json:"ok"`
	Warn     int              `json:"warn"`
	Fail     int              `json:"fail"`
	Skipped  int              `json:"skipped"`
	Findings []doctor.Finding `json:"findings"`
}

const doctorLong = `Look at everything that a failover will depend on, and say what is wrong and
what to do: the configuration, failure domains, clocks, the DNS of every name at
every authority, the disk of the ledger, rights of files. Nothing is changed.

It runs before any controller does, and beside one, which it then asks too.
Times of disk writes are taken with a scratch file in controller.data, which is
removed, and a probe of a Tablestore writes its row; --read-only leaves both out. A ledger is read from a copy in $TMPDIR,
which is removed, too.

Exit status: 0 all is well, 3 there are warnings, 1 there are failures. What
could not be looked at is shown as skipped and changes nothing. docs/doctor.md
has every check.`

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether this place is fit for failover, and what to mend",
		Long:  doctorLong,
		Example: `  pointsman doctor -c pointsman.yaml
  pointsman doctor --only dns,files.secrets -o json`,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), f) },
	}
	cmd.Flags().BoolVar(&f.readOnly, "read-only", false, "leave out what writes: a scratch file in controller.data, the row of a Tablestore probe")
	cmd.Flags().StringSliceVar(&f.only, "only", nil, "only the checks of this `ID`, or of this group, such as dns; may be repeated")
	cmd.Flags().StringSliceVar(&f.resolvers, "resolver", nil, "`ADDRESS` of a resolver to ask, with or without port (default: those of /etc/resolv.conf)")
	cmd.Flags().DurationVar(&f.within, "within", time.Minute, "end after this `DURATION`; what was not begun is skipped")
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(doctor.Names(), cobra.ShellCompDirectiveNoFileComp))
	a.outputFlag(cmd)
	cmd.AddCommand(a.proveMoveCommand(), a.doctorClientCommand())
	return cmd
}

// doctor runs the checks, prints what they found, and ends with the status of
// the worst.
func (a *app) doctor(ctx context.Context, f doctorFlags) error {
	ids, unknown := doctor.Select(f.only)
	if unknown != "" {
		hint := "there are " + strings.Join(doctor.Names(), ", ")
		if n := nearest(unknown, doctor.Names()); n != "" {
			hint = fmt.Sprintf("did you mean %s?", n)
		}
		return failed(hint, "--only: there is no check %q", unknown)
	}
	if f.within <= 0 {
		return failed("write --within 30s", "--within %s leaves no time", f.within)
	}
	asker, err := a.asker(f.resolvers)
	if err != nil {
		return err
	}
	r, err := a.examine(ctx, f, ids, asker, a.progress())
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { a.doctorTable(w, r) }); err != nil {
		return err
	}
	return doctorStatus(r.Verdict)
}

// doctorStatus is the exit status of a verdict.
func doctorStatus(v doctor.Verdict) error {
	switch v {
	case doctor.Fail:
		return errStatus(exitError)
	case doctor.Warn:
		return errStatus(exitWarnings)
	default:
		return nil
	}
}

// newReport counts findings.
func newReport(file string, fs []doctor.Finding) doctorReport {
	r := doctorReport{At: time.Now(), File: file, Verdict: doctor.Worst(fs), Findings: fs}
	for _, f := range fs {
		switch f.Verdict {
		case doctor.OK:
			r.OK++
		case doctor.Warn:
			r.Warn++
		case doctor.Fail:
			r.Fail++
		default:
			r.Skipped++
		}
	}
	return r
}

func (a *app) doctorTable(w io.Writer, r doctorReport) {
	a.findings(w, r.Findings)
	fmt.Fprintf(w, "\n%s: %d ok, %d warnings, %d failures, %d skipped\n", a.verdict(r.Verdict), r.OK, r.Warn, r.Fail, r.Skipped)
}

// findings prints a line for each, what to do below every bad one. What was
// skipped for the same reason is one line.
func (a *app) findings(w io.Writer, fs []doctor.Finding) {
	wide := 0
	for _, f := range fs {
		wide = max(wide, len(f.ID))
	}
	for i := 0; i < len(fs); i++ {
		f := fs[i]
		about, also := "", ""
		if f.About != "" {
			about = clean(f.About) + ": "
		}
		for f.Verdict == doctor.Skipped && i+1 < len(fs) && sameSkip(f, fs[i+1]) {
			i++
			also += ", " + fs[i].ID
		}
		if also != "" {
			also = " (also " + also[2:] + ")"
		}
		fmt.Fprintf(w, "%s%s  %-*s  %s%s%s\n", a.verdict(f.Verdict), strings.Repeat(" ", len(doctor.Skipped)-len(f.Verdict)), wide, f.ID, about, flat(f.Evidence), also)
		if f.Fix != "" {
			fmt.Fprintf(w, "%s  fix: %s\n", strings.Repeat(" ", len(doctor.Skipped)+2+wide), flat(f.Fix))
		}
	}
}

func sameSkip(f, g doctor.Finding) bool {
	return g.Verdict == doctor.Skipped && g.About == f.About && g.Evidence == f.Evidence
}

// flat puts the words of others on one line.
func flat(s string) string { return strings.ReplaceAll(clean(s), "\n", " ") }

func (a *app) verdict(v doctor.Verdict) string { return a.verdictWord(v, string(v)) }

// verdictWord paints a word in the colour of a verdict.
func (a *app) verdictWord(v doctor.Verdict, word string) string {
	switch v {
	case doctor.OK:
		return a.paint(text.FgGreen, word)
	case doctor.Fail:
		return a.paint(text.FgRed, word)
	default:
		return a.paint(text.FgYellow, word)
	}
}

// progress shows on a terminal how far the checks are, on one line that is
// wiped at the end; elsewhere nothing.
func (a *app) progress() func(ended, all int, about string) {
	if !a.stderrTTY || a.env("TERM") == "dumb" {
		return nil
	}
	return func(ended, all int, about string) {
		if ended == all {
			fmt.Fprint(a.stderr, "\r\x1b[K")
			return
		}
		fmt.Fprintf(a.stderr, "\r\x1b[K%d of %d  %.60s", ended, all, clean(about))
	}
}

// asker takes the resolvers of the flags, or those of this host.
func (a *app) asker(given []string) (doctor.Asker, error) {
	var out doctor.Asker
	for _, g := range given {
		at, err := netip.ParseAddrPort(g)
		if err != nil {
			ip, err := netip.ParseAddr(g)
			if err != nil {
				return out, failed("write an address: 192.0.2.53, or 192.0.2.53:5353, or [2001:db8::53]:53", "--resolver: %q is no address", g)
			}
			at = netip.AddrPortFrom(ip, 53)
		}
		out.Resolvers = append(out.Resolvers, at)
	}
	if len(out.Resolvers) > 0 {
		return out, nil
	}
	conf, err := doctor.ReadResolvConf()
	if err != nil && !errors.Is(err, doctor.ErrNoFile) {
		fmt.Fprintf(a.stderr, "warning: %s\n", clean(err.Error()))
	}
	out.Resolvers = conf.Asked()
	return out, nil
}
