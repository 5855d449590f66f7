package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// ejectFlags are those of eject.
type ejectFlags struct {
	out, by, reason string
	yes, offline    bool
	wait            time.Duration
}

func (a *app) ejectCommand() *cobra.Command {
	var f ejectFlags
	cmd := &cobra.Command{
		Use:   "eject INSTANCE... -c FILE",
		Short: "Take pointsman away: disarm, and print how to do every step by hand",
		Long: `Take pointsman away from instances. A running controller is told to disarm
them and to finish what it has in hand; then, and also when none answers, the
ledger's file says what stands where: names, clusters, marks, an open operation
and how a person ends it, and for each name the lines to look (dig) and to move
it by hand: nsupdate scripts with their prerequisite, commands of the vendor's
own program for names at a cloud, whole zone files for names of pointsman's own
authority. Nothing that was printed holds a secret.

It runs on the machine of the controller, which -c FILE describes.`,
		Example: `  pointsman eject orders -c pointsman.yaml --out orders-by-hand --yes
  pointsman eject orders -c pointsman.yaml --offline -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return failed("usage: "+cmd.UseLine(), "INSTANCE is missing")
			}
			return nil
		},
		ValidArgsFunction: a.completeInstances,
	}
	cmd.Flags().StringVar(&f.out, "out", "", "write it into this new `FOLDER`, besides printing what stands where")
	cmd.Flags().StringVar(&f.by, "by", "", "who asks, for the audit (default user@host)")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the audit")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "no question")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "ask no controller: only read the ledger's file")
	cmd.Flags().DurationVar(&f.wait, "wait", time.Minute, "how long a running controller may take to finish what it has in hand")
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.eject(cmd.Context(), args, f) }
	return cmd
}

func (a *app) eject(ctx context.Context, names []string, f ejectFlags) error {
	if a.config == "" {
		return failed("add -c FILE, the configuration of the controller: it says where ledger, names and targets are", "eject reads files and was told of none")
	}
	cfg, err := config.Load(a.config)
	if err != nil {
		return configError(err)
	}
	if err := checkFolder(f.out); err != nil {
		return err
	}
	if names, err = ejectable(cfg, names); err != nil {
		return err
	}
	controller, left := "not asked (--offline)", []string(nil)
	if !f.offline {
		if controller, left, err = a.disarmAll(ctx, names, f); err != nil {
			return err
		}
	}
	p, err := ledger.Peek(ctx, cfg.Controller.Data)
	if err != nil {
		return peekError(cfg.Controller.Data, err)
	}
	e, err := eject(cfg, p, names, time.Now())
	if err != nil {
		return err
	}
	e.Controller, e.Left = controller, append(left, e.Left...)
	if err := e.finish(); err != nil {
		return err
	}
	if f.out != "" {
		if err := e.write(f.out); err != nil {
			return err
		}
	}
	return a.print(e, func(w io.Writer) { e.show(w, f.out) })
}

// ejectable wants every instance to stand in the config before the first of
// them is disarmed, and each once.
func ejectable(cfg *config.Config, names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		if !slices.ContainsFunc(cfg.Instances, func(i config.Instance) bool { return string(i.Policy.Instance) == name }) {
			var known []string
			for _, i := range cfg.Instances {
				known = append(known, string(i.Policy.Instance))
			}
			hint := "pointsman status --offline -c FILE lists those of the ledger"
			if n := nearest(name, known); n != "" {
				hint = fmt.Sprintf("did you mean %s?", n)
			}
			return nil, failed(hint, "the config has no instance %q; nothing was disarmed", name)
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// disarmAll tells a running controller to let go, and waits until it has
// finished what it had in hand. Where it cannot, which may be why it is taken
// away, what it did not do is left over, and the rest goes on all the same.
func (a *app) disarmAll(ctx context.Context, names []string, f ejectFlags) (controller string, left []string, err error) {
	c, err := a.client()
	if err != nil {
		return "", nil, err
	}
	said := func(err error) string { text, _ := splitHint(err); return clean(text) }
	views := make([]failover.View, 0, len(names))
	for _, name := range names {
		v, err := c.View(ctx, failover.InstanceName(name))
		if errors.Is(err, api.ErrUnreachable) {
			return fmt.Sprintf("none answers at %s; whether one runs elsewhere is not known", c.Where()), nil, nil
		}
		if err != nil {
			left = append(left, fmt.Sprintf("%s was not disarmed: %s", name, said(err)))
			continue
		}
		views = append(views, v)
	}
	for _, v := range views {
		if err := a.confirm(f.yes, v, fmt.Sprintf("eject %s: automation ends, and %s stays at %s", v.Instance, v.Instance, v.Active)); err != nil {
			return "", nil, err
		}
	}
	for _, v := range views {
		rep, err := c.Do(ctx, v.Instance, api.CommandRequest{Verb: failover.DoDisarm, By: orElse(f.by, a.who()), Reason: orElse(f.reason, "eject")})
		if err == nil {
			err = replyError(rep, "disarm")
		}
		if err != nil {
			left = append(left, fmt.Sprintf("%s was not disarmed, the controller may move it: end its process (%s)", v.Instance, said(err)))
			continue
		}
		left = append(left, a.letFinish(ctx, c, v.Instance, f.wait)...)
	}
	return fmt.Sprintf("one answers at %s and was told to disarm them; it still runs, and serves the names of its own authority", c.Where()), left, nil
}

// letFinish waits until no operation is open and no write of a name is awaited,
// as the restoring of a TTL is, and says what is left.
func (a *app) letFinish(ctx context.Context, c *api.Client, i failover.InstanceName, limit time.Duration) []string {
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	held := ""
	err := c.Watch(wait, i, func(vs []failover.View) error {
		if len(vs) != 1 {
			return errEnded
		}
		v := vs[0]
		if v.Op != nil && v.Op.Held != nil {
			held = v.Op.Held.Why
			return errEnded
		}
		if v.Op != nil {
			return nil
		}
		for _, n := range v.Names {
			if n.Want != nil {
				return nil
			}
		}
		return errEnded
	})
	switch {
	case held != "":
		return []string{fmt.Sprintf("the operation of %s is held: %s", i, held)}
	case errors.Is(err, errEnded):
		return nil
	default:
		return []string{fmt.Sprintf("%s had not finished within %s; the running controller goes on", i, limit)}
	}
}

// peekError says what a person can do about a ledger that cannot be read.
func peekError(data string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failed("no controller has run with this configuration on this machine yet; check controller.data", "%s is not there", filepath.Join(data, "ledger.db"))
	case errors.Is(err, fs.ErrPermission):
		return failed("ask as the user of the controller, or as root", "%w", err)
	default:
		return failed("while a controller runs, ask it: pointsman status", "%w", err)
	}
}

// checkFolder refuses one in which something stands already: what is read at
// night must be of one moment.
func checkFolder(out string) error {
	if out == "" {
		return nil
	}
	entries, err := os.ReadDir(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return failed("give --out a folder that can be made", "--out: %w", err)
	case len(entries) > 0:
		return failed("give --out a folder that does not exist yet", "--out: %s is not empty", out)
	}
	return nil
}

func (e *ejection) write(out string) error {
	for _, f := range e.Files {
		path := filepath.Join(out, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return failed("give --out a folder that can be made", "write %s: %w", path, plainError(err))
		}
		if err := replaceFile(path, []byte(f.Text)); err != nil {
			return failed("give --out a folder that can be written", "write %s: %w", path, plainError(err))
		}
	}
	return nil
}
